/**
 * Signal frames of x86-64, as data of the restore program.
 *
 * @module
 */
import type { Thread, X86State } from '../../../image.ts';
import type { RestoreProgram } from '../../../restorer/program.ts';
import type { DataRef } from '../../../restorer/steps.ts';
import { x86Frame } from '../../../x86-frame.ts';

export function x86FrameData(program: RestoreProgram, thread: Thread, machine: X86State): DataRef {
  const { context, pointer, state } = x86Frame(machine, thread.signalMask, thread.altStack);
  const ref = program.data(context, 64);
  if (state !== undefined) program.pointer({ ...ref, offset: pointer }, program.data(state, 64));
  return ref;
}
