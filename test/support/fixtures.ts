/**
 * Builds the programs of test/fixtures. Each is compiled once, whoever asks: the result is kept under
 * the system's temporary directory, by the hash of everything that it is made of.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ROOT } from './sandbox.ts';

const COMMON = ['-O1', '-g', '-Wall', '-Wno-unused-result', '-pthread', `-I${join(ROOT, 'unexec/runtime')}`];

/** Path of the program made of test/fixtures/`fixture`, `files/pipes.c` for example. */
export function compileFixture(fixture: string, flags: readonly string[] = [], compiler = 'gcc'): string {
  const source = join(ROOT, 'test/fixtures', fixture);
  const headers = [join(ROOT, 'test/fixtures/fixture.h'), join(ROOT, 'unexec/runtime/unexec.h')];
  const hash = createHash('sha256');
  for (const part of [source, ...headers].map(path => readFileSync(path))) hash.update(part);
  hash.update([compiler, ...COMMON, ...flags].join('\0'));
  const directory = join(tmpdir(), `unexec-fixtures-${process.getuid?.()}`);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const output = join(directory, `${basename(fixture, '.c')}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(output)) return output;
  // Renamed when it is whole: another test process may want the same one at the same time.
  const unfinished = `${output}.${process.pid}`;
  execFileSync(compiler, [...COMMON, '-o', unfinished, source, ...flags]);
  renameSync(unfinished, output);
  return output;
}
