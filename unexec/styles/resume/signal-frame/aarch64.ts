/**
 * Signal frames of aarch64: a `struct rt_sigframe`, whose context has records of its own for floating
 * point and for SVE.
 * Facts: asm/sigcontext.h, asm/ucontext.h, asm/ptrace.h, arch/arm64/kernel/signal.c of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../../../../formats/struct.ts';
import { UnexecError } from '../../../errors.ts';
import { ARM_REGISTER_NAMES, type ArmState, type RegisterName, type Thread } from '../../../image.ts';
import type { RestoreProgram } from '../../../restorer/program.ts';
import type { DataRef } from '../../../restorer/steps.ts';

/** siginfo_t comes first, and is not looked at. */
const UCONTEXT = 128;
/** Within struct ucontext. */
const UC = { stack: 16, sigmask: 40, mcontext: 176 } as const;
/** Within struct sigcontext: fault_address, then registers in the order of `struct user_pt_regs`. */
const SIGCONTEXT = { regs: 8, reserved: 288, reservedSize: 4096 } as const;
const FRAME_SIZE = UCONTEXT + UC.mcontext + SIGCONTEXT.reserved + SIGCONTEXT.reservedSize;

const FPSIMD_MAGIC = 0x46508001;
const FPSIMD_CONTEXT_SIZE = 528;
/** Bytes of v0 to v31, in `struct user_fpsimd_state` followed by fpsr and fpcr. */
const VREGS_SIZE = 512;
const SVE_MAGIC = 0x53564501;
const SVE_HEADER_SIZE = 16;
/** `flags` of struct user_sve_header: SVE registers follow, rather than those of FPSIMD. */
const SVE_PT_REGS_SVE = 1;
const END_OF_RECORDS = 8;

/** Offset of a register within a frame. */
export function armRegisterOffset(name: RegisterName): number {
  const order: readonly RegisterName[] = ARM_REGISTER_NAMES;
  const index = order.indexOf(name);
  if (index < 0) throw new UnexecError('INTERNAL', `a signal frame has no register ${name}`);
  return UCONTEXT + UC.mcontext + SIGCONTEXT.regs + index * 8;
}

/** @throws UnexecError `SVE_TOO_WIDE` */
export function armFrame(program: RestoreProgram, thread: Thread, machine: ArmState): DataRef {
  const frame = new Uint8Array(FRAME_SIZE);
  const view = viewOf(frame);
  view.setBigUint64(UCONTEXT + UC.stack, thread.altStack.sp, true);
  view.setInt32(UCONTEXT + UC.stack + 8, thread.altStack.flags, true);
  view.setBigUint64(UCONTEXT + UC.stack + 16, BigInt(thread.altStack.size), true);
  view.setBigUint64(UCONTEXT + UC.sigmask, thread.signalMask, true);
  for (const name of ARM_REGISTER_NAMES) {
    view.setBigUint64(armRegisterOffset(name), machine.registers[name], true);
  }
  const records = frame.subarray(UCONTEXT + UC.mcontext + SIGCONTEXT.reserved);
  records.set(fpsimdContext(machine.fpsimd));
  const sve = sveContext(machine.sve);
  if (FPSIMD_CONTEXT_SIZE + sve.length + END_OF_RECORDS > records.length) {
    throw new UnexecError('SVE_TOO_WIDE', `thread ${thread.tid} has ${sve.length} bytes of SVE registers`, {
      hint: `a signal frame has room for ${records.length - FPSIMD_CONTEXT_SIZE - END_OF_RECORDS}`,
    });
  }
  records.set(sve, FPSIMD_CONTEXT_SIZE);
  return program.data(frame, 16);
}

/** Bytes of a vector: `vl` of struct user_sve_header. */
export const vectorLength = (sve: Uint8Array): number => viewOf(sve).getUint16(8, true);

/** struct fpsimd_context: magic, size, fpsr, fpcr, v0 to v31. */
function fpsimdContext(fpsimd: Uint8Array): Uint8Array {
  const record = new Uint8Array(FPSIMD_CONTEXT_SIZE);
  const view = viewOf(record);
  view.setUint32(0, FPSIMD_MAGIC, true);
  view.setUint32(4, FPSIMD_CONTEXT_SIZE, true);
  record.set(fpsimd.subarray(VREGS_SIZE, VREGS_SIZE + 8), 8);
  record.set(fpsimd.subarray(0, VREGS_SIZE), 16);
  return record;
}

/**
 * struct sve_context: magic, size, vl, flags, then z0 to z31, p0 to p15 and ffr as ptrace(2) has them too.
 * Nothing where the thread has no SVE state beyond FPSIMD's, as after any system call.
 */
function sveContext(sve: Uint8Array | undefined): Uint8Array {
  if (sve === undefined || sve.length < SVE_HEADER_SIZE) return new Uint8Array();
  if ((viewOf(sve).getUint16(12, true) & SVE_PT_REGS_SVE) === 0) return new Uint8Array();
  const vl = vectorLength(sve);
  const size = vl * 32 + (vl / 8) * 16 + vl / 8;
  const record = new Uint8Array(Math.ceil((SVE_HEADER_SIZE + size) / 16) * 16);
  const view = viewOf(record);
  view.setUint32(0, SVE_MAGIC, true);
  view.setUint32(4, record.length, true);
  view.setUint16(8, vl, true);
  record.set(sve.subarray(SVE_HEADER_SIZE, SVE_HEADER_SIZE + size), SVE_HEADER_SIZE);
  return record;
}
