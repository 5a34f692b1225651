/**
 * Opens what is to be frozen, whatever it is: one line a kind of source.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { requireSupportedMachine } from '../linux/supported-machine.ts';
import { attachedProcess } from './attached-process.ts';
import { elfCore, isElfCore } from './elf-core.ts';
import type { FrozenFrom, Opening, Source } from './source.ts';
import { startedProgram } from './started-program.ts';

/**
 * A process that stands at its freeze point, captured.
 *
 * @throws UnexecError `UNSUPPORTED_MACHINE`, `ONLY_FOR_A_CORE`, `ONLY_FOR_A_START`, and as the kinds of sources do
 */
export async function openSource(from: FrozenFrom, opening: Opening): Promise<Source> {
  if (typeof from === 'string' && isElfCore(from)) return elfCore(from, opening);
  const { options } = opening;
  if (options.exe !== undefined || options.sysroot !== undefined) {
    const what = typeof from === 'string' ? from : `process ${from.pid}`;
    throw new UnexecError('ONLY_FOR_A_CORE', `--exe and --sysroot are for ELF cores, and ${what} is none`);
  }
  if (typeof from !== 'string' && options.reproducible === true) {
    const message = `process ${from.pid} has its addresses already, and they are never the same (--reproducible)`;
    throw new UnexecError('ONLY_FOR_A_START', message, { hint: 'have the program started for the freeze' });
  }
  // A core is read anywhere.
  requireSupportedMachine();
  return typeof from === 'string' ? startedProgram(from, opening) : attachedProcess(from, opening);
}
