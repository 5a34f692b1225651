/**
 * What rt_sigreturn(2) reads on x86-64: a `struct ucontext`, and the XSAVE area that it points to.
 * Facts: asm/sigcontext.h, asm/ucontext.h of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../formats/struct.ts';
import type { RegisterName, X86RegisterName, X86State } from './machine-state.ts';
import { isExtended, LEGACY_SIZE, signalFrameState } from './xstate.ts';

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

export interface X86Frame {
  /** `struct ucontext`. */
  readonly context: Uint8Array;
  /** Where in it the address of `state` belongs. */
  readonly pointer: number;
  /** The XSAVE area, to lie at a multiple of 64; undefined where there is none. */
  readonly state: Uint8Array | undefined;
}

/** Offset of a register within a frame; undefined for what is no register of it. */
export function x86RegisterOffset(name: RegisterName): number | undefined {
  const order: readonly RegisterName[] = SIGCONTEXT_ORDER;
  const index = order.indexOf(name);
  return index < 0 ? undefined : UCONTEXT.sigcontext + index * 8;
}

/** `altStack`: stack_t, whose flags are 32 bits. */
export function x86Frame(
  { registers, xstate }: X86State,
  signalMask: bigint,
  altStack: { readonly sp: bigint; readonly flags: number; readonly size: number },
): X86Frame {
  const context = new Uint8Array(UCONTEXT.size);
  const view = viewOf(context);
  view.setBigUint64(
    UCONTEXT.flags,
    UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (isExtended(xstate) ? UC_FP_XSTATE : 0n),
    true,
  );
  view.setBigUint64(UCONTEXT.stack, altStack.sp, true);
  view.setInt32(UCONTEXT.stack + 8, altStack.flags, true);
  view.setBigUint64(UCONTEXT.stack + 16, BigInt(altStack.size), true);
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
  view.setBigUint64(UCONTEXT.sigmask, signalMask, true);
  return {
    context,
    pointer: UCONTEXT.sigcontext + FPSTATE_POINTER_OFFSET,
    state: xstate.length >= LEGACY_SIZE ? signalFrameState(xstate) : undefined,
  };
}
