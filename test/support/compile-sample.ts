/**
 * Programs of samples/, compiled as the test run needs them, into a directory that goes with the process.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This file runs from build/test/support. */
const samples = fileURLToPath(new URL('../../../samples/', import.meta.url));

let directory: string | undefined;
const compiled = new Map<string, string>();

/** Path of the executable made from samples/NAME.c. */
export function compileSample(name: string, ...flags: string[]): string {
  const key = [name, ...flags].join(' ');
  const known = compiled.get(key);
  if (known !== undefined) return known;
  if (directory === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'unexec-samples-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    directory = made;
  }
  const program = join(directory, `${name}-${compiled.size}`);
  try {
    execFileSync('gcc', ['-O1', ...flags, join(samples, `${name}.c`), '-o', program, '-pthread']);
  } catch (cause) {
    throw new Error(`samples/${name}.c does not compile; it needs the packages gcc and libc6-dev`, { cause });
  }
  compiled.set(key, program);
  return program;
}
