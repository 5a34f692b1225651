/**
 * Programs with the runtime in them, for Linux itself. Their reserve is a zero-fill variable
 * (test/fixtures/runtime/space.c), and what `unexec prepare` writes into `unexec_reserve` is written here.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './sandbox.ts';

export interface RuntimeProgram {
  /** From the root of the checkout. */
  readonly source: string;
  readonly output: string;
  /** Bytes of the reserve, a multiple of 16 KiB. Default: none. */
  readonly reserve?: number;
  readonly flags?: readonly string[];
  /** Default: gcc. */
  readonly compiler?: string;
}

export const RUNTIME: string = join(ROOT, 'unexec/runtime');
export const RUNTIME_SOURCE: string = join(RUNTIME, 'unexec-runtime.c');
/** Default of the tests' programs. */
export const MIB: number = 1 << 20;

const MAGIC = 'unexec reserve 1';
/** Of `offset` in struct unexec_reserve (unexec/runtime/zone.h). */
const OFFSET = 16;

/** Compiles, links, and gives the program its reserve. Returns its path. */
export function buildWithRuntime({ source, output, reserve, flags = [], ...rest }: RuntimeProgram): string {
  const compiler = rest.compiler ?? 'gcc';
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  const sources = [join(ROOT, source), RUNTIME_SOURCE];
  const space =
    reserve === undefined ? [] : [join(ROOT, 'test/fixtures/runtime/space.c'), `-DSPACE=${reserve}`];
  const options = ['-O2', '-g', ...warnings, '-pthread', `-I${RUNTIME}`, '-o', output, ...flags];
  execFileSync(compiler, [...options, ...sources, ...space]);
  if (reserve !== undefined) giveReserve(output, reserve);
  return output;
}

/** Writes where the reserve is, and how large. */
export function giveReserve(path: string, size: number): void {
  const file = readFileSync(path);
  const at = file.indexOf(MAGIC);
  if (at < 0 || file.includes(MAGIC, at + 1)) throw new Error(`${path}: '${MAGIC}' is not there once`);
  file.writeBigInt64LE(symbol(path, 'unexec_test_space') - symbol(path, 'unexec_reserve'), at + OFFSET);
  file.writeBigUInt64LE(BigInt(size), at + OFFSET + 8);
  writeFileSync(path, file);
}

function symbol(path: string, name: string): bigint {
  const line = execFileSync('nm', [path], { encoding: 'utf8' })
    .split('\n')
    .find(text => text.endsWith(` ${name}`));
  if (line === undefined) throw new Error(`${path}: no symbol ${name}`);
  return BigInt(`0x${line.split(' ')[0]}`);
}
