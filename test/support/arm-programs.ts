/**
 * Programs for aarch64, made of fixtures with Debian's cross compiler, and the C library that they want.
 *
 * @module
 */
import { basename, join } from 'node:path';
import { compileTo } from './compile.ts';
import { ROOT } from './sandbox.ts';

/** Where the libraries of the cross compiler are: what qemu's -L and `--sysroot` take. */
export const ARM_SYSROOT = '/usr/aarch64-linux-gnu';

/** Path of the program made of test/fixtures/`fixture` in `directory`. */
export function compileArm(directory: string, fixture: string, flags: readonly string[] = []): string {
  const output = join(directory, [basename(fixture, '.c'), ...flags].join(''));
  compileTo(output, join(ROOT, 'test/fixtures', fixture), flags, 'aarch64-linux-gnu-gcc');
  return output;
}
