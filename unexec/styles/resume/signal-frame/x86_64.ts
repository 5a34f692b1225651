/**
 * Signal frames of x86-64: a `struct ucontext`, and the XSAVE area that it points to.
 * Facts: asm/sigcontext.h, asm/ucontext.h of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../../../../formats/struct.ts';
import type { RegisterName, Thread, X86RegisterName, X86State } from '../../../image.ts';
import type { RestoreProgram } from '../../../restorer/program.ts';
import type { DataRef } from '../../../restorer/steps.ts';
import { isExtended, LEGACY_SIZE, signalFrameState } from '../../../xstate.ts';

const UC_FP_XSTATE = 1n;
const UC_SIGCONTEXT_SS = 2n;
const UC_STRICT_RESTORE_SS = 4n;
const UCONTEXT = { flags: 0, stack: 16, sigcontext: 40, sigmask: 40 + 256, size: 40 + 256 + 8 } as const;
/** Offsets within struct sigcontext: general registers in this order, then the segments. */
// biome-ignore format: three rows of registers
const SIGCONTEXT_ORDER: readonly X86RegisterName[] = [
  'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
  'rdi', 'rsi', 'rbp', 'rbx', 'rdx', 'rax', 'rcx', 'rsp',
  'rip', 'eflags',
];
const SEGMENTS_OFFSET = SIGCONTEXT_ORDER.length * 8;
const FPSTATE_POINTER_OFFSET = SEGMENTS_OFFSET + 8 + 4 * 8;

/** Offset of a register within a frame; undefined for what is no register of it. */
export function x86RegisterOffset(name: RegisterName): number | undefined {
  const order: readonly RegisterName[] = SIGCONTEXT_ORDER;
  const index = order.indexOf(name);
  return index < 0 ? undefined : UCONTEXT.sigcontext + index * 8;
}

export function x86Frame(program: RestoreProgram, thread: Thread, { registers, xstate }: X86State): DataRef {
  const frame = new Uint8Array(UCONTEXT.size);
  const view = viewOf(frame);
  view.setBigUint64(
    UCONTEXT.flags,
    UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (isExtended(xstate) ? UC_FP_XSTATE : 0n),
    true,
  );
  view.setBigUint64(UCONTEXT.stack, thread.altStack.sp, true);
  view.setInt32(UCONTEXT.stack + 8, thread.altStack.flags, true);
  view.setBigUint64(UCONTEXT.stack + 16, BigInt(thread.altStack.size), true);
  for (const [i, name] of SIGCONTEXT_ORDER.entries()) {
    view.setBigUint64(UCONTEXT.sigcontext + i * 8, registers[name], true);
  }
  for (const [i, name] of (['cs', 'gs', 'fs', 'ss'] as const).entries()) {
    view.setUint16(
      UCONTEXT.sigcontext + SEGMENTS_OFFSET + i * 2,
      Number(BigInt.asUintN(16, registers[name])),
      true,
    );
  }
  view.setBigUint64(UCONTEXT.sigmask, thread.signalMask, true);
  const ref = program.data(frame, 64);
  if (xstate.length >= LEGACY_SIZE) {
    const state = program.data(signalFrameState(xstate), 64);
    program.pointer({ ...ref, offset: UCONTEXT.sigcontext + FPSTATE_POINTER_OFFSET }, state);
  }
  return ref;
}
