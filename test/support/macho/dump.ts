/**
 * The cycle of a Mach-O program with the runtime: linked, prepared, run up to where it asks to be frozen, saved
 * as a core, dumped.
 *
 * @module
 */
import { type PrepareOptions, prepare } from '../../../unexec/prepare.ts';
import { type LoaderOptions, runMachO } from './loader.ts';
import { compileMachO, type MachOProgram } from './toolchain.ts';

export const RUNTIME_SOURCE = 'unexec/runtime/unexec-runtime.c';

export const MIB: number = 1 << 20;

/** Links the sources with the runtime and prepares the result, in place. Returns its path. */
export async function prepared(
  program: MachOProgram,
  options: Partial<PrepareOptions> = {},
): Promise<string> {
  const path = compileMachO({ ...program, sources: [...program.sources, RUNTIME_SOURCE] });
  await prepare(path, path, { reserve: 4 * MIB, ...options });
  return path;
}

export interface CoreOptions extends LoaderOptions {
  readonly args?: readonly string[];
}

let cores = 0;

/** Path of a core of the program, taken where it asks to be frozen. */
export async function takeCore(path: string, options: CoreOptions): Promise<string> {
  const core = `${path}.${cores++}.core`;
  const outcome = await runMachO(path, options.args ?? [], { at: '_unexec_freeze_here', ...options, core });
  if (outcome.status !== 0) throw new Error(`${path}: status ${outcome.status}\n${outcome.stderr}`);
  return core;
}
