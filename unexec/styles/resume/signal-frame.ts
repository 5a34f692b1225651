/**
 * The signal frame of a thread, through which rt_sigreturn(2) puts registers, floating point and vectors,
 * signal mask and alternate stack back in one go.
 *
 * @module
 */
import type { RegisterName, Thread } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef } from '../../restorer/steps.ts';
import { x86RegisterOffset } from '../../x86-frame.ts';
import { armFrame, armRegisterOffset } from './signal-frame/aarch64.ts';
import { x86FrameData } from './signal-frame/x86_64.ts';

/** The frame of one thread, as data of the program. */
export function signalFrame(program: RestoreProgram, thread: Thread): DataRef {
  const { machine } = thread;
  return machine.arch === 'x86_64'
    ? x86FrameData(program, thread, machine)
    : armFrame(program, thread, machine);
}

/** Offset of a register within a frame. */
export const registerOffset = (name: RegisterName): number =>
  x86RegisterOffset(name) ?? armRegisterOffset(name);
