/**
 * Builds the small programs of samples/ for a test.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { ROOT } from './sandbox.ts';

/** Path of the program made of samples/`sample` (`.c` or `.cc`) in `directory`. */
export function compileSample(directory: string, sample: string, flags: readonly string[] = []): string {
  const extension = extname(sample);
  const output = join(directory, basename(sample, extension));
  compileTo(output, join(ROOT, 'samples', sample), flags);
  return output;
}

/** Runs gcc or, for a `.cc` file, g++. */
export function compileTo(
  output: string,
  source: string,
  flags: readonly string[] = [],
  compiler = source.endsWith('.cc') ? 'g++' : 'gcc',
): void {
  const include = join(ROOT, 'unexec/runtime');
  execFileSync(compiler, ['-O1', '-g', '-Wall', '-pthread', `-I${include}`, '-o', output, source, ...flags]);
  chmodSync(output, 0o755);
}
