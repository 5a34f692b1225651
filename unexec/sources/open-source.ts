/**
 * Opens what is to be frozen, whatever it is: one line a kind of source.
 *
 * @module
 */
import { attachedProcess } from './attached-process.ts';
import type { FrozenFrom, Opening, Source } from './source.ts';
import { startedProgram } from './started-program.ts';

/**
 * A process that stands at its freeze point, captured.
 *
 * @throws UnexecError as the kinds of sources do
 */
export async function openSource(from: FrozenFrom, opening: Opening): Promise<Source> {
  return typeof from === 'string' ? startedProgram(from, opening) : attachedProcess(from, opening);
}
