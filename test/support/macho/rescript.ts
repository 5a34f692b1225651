/**
 * Real programs that the loader can run: ReScript's compiler (OCaml, chained fixups 64_OFFSET, thread-locals)
 * and its build tool (Rust, rebase and bind opcodes), as npm has them for macOS.
 *
 * @module
 */
import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { conformanceFile } from '../conformance-files.ts';
import type { Outcome } from '../run.ts';
import { ROOT } from '../sandbox.ts';
import { type LoaderOptions, runMachO } from './loader.ts';
import type { MachOArch } from './toolchain.ts';

/** Path of `bsc.exe` or `rescript.exe`. */
export const rescriptProgram = (name: 'bsc' | 'rescript', arch: MachOArch): string =>
  conformanceFile(`@rescript/darwin-${arch === 'arm64' ? 'arm64' : 'x64'} bin/${name}.exe`).path;

export interface Compiled extends Outcome {
  /** Bytes of shapes.cmi and shapes.cmj, which do not say where they were made. */
  readonly interface: Uint8Array;
  readonly code: Uint8Array;
}

/** Compiles programs/shapes.res in a new directory below `directory` with `bsc`; stdout is JavaScript. */
export async function compileShapes(
  bsc: string,
  directory: string,
  options: Omit<LoaderOptions, 'foreign'>,
): Promise<Compiled> {
  const cwd = mkdtempSync(join(directory, 'shapes-'));
  copyFileSync(join(ROOT, 'test/support/macho/programs/shapes.res'), join(cwd, 'shapes.res'));
  const outcome = await runMachO(bsc, ['-nopervasives', 'shapes.res'], { ...options, foreign: true, cwd });
  const made = (name: string): Uint8Array =>
    outcome.status === 0 && outcome.stdout !== '' ? readFileSync(join(cwd, name)) : new Uint8Array();
  return { ...outcome, interface: made('shapes.cmi'), code: made('shapes.cmj') };
}
