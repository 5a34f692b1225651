/**
 * ptrace(2) requests and events. Facts: sys/ptrace.h and asm/ptrace.h of Linux 6.1.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { ERRNO, errnoName } from './errno.ts';
import { addressOf, ptrace, ptraceWith } from './libc.ts';

export const PTRACE = {
  CONT: 7,
  SINGLESTEP: 9,
  /** GETREGS and SETREGS: x86-64 only. */
  GETREGS: 12,
  SETREGS: 13,
  DETACH: 17,
  SYSCALL: 24,
  GETEVENTMSG: 0x4201,
  GETSIGINFO: 0x4202,
  GETREGSET: 0x4204,
  SETREGSET: 0x4205,
  SEIZE: 0x4206,
  INTERRUPT: 0x4207,
  LISTEN: 0x4208,
  PEEKSIGINFO: 0x4209,
  GETSIGMASK: 0x420a,
  SETSIGMASK: 0x420b,
  GET_SYSCALL_INFO: 0x420e,
  GET_RSEQ_CONFIGURATION: 0x420f,
  GET_SYSCALL_USER_DISPATCH_CONFIG: 0x4211,
} as const;

export const PTRACE_EVENT = {
  FORK: 1,
  VFORK: 2,
  CLONE: 3,
  EXEC: 4,
  VFORK_DONE: 5,
  EXIT: 6,
  STOP: 128,
} as const;

export const PTRACE_O = {
  TRACESYSGOOD: 1,
  TRACEFORK: 2,
  TRACEVFORK: 4,
  TRACECLONE: 8,
  TRACEEXEC: 16,
  TRACEVFORKDONE: 32,
  TRACEEXIT: 64,
  EXITKILL: 1 << 20,
} as const;

/** A ptrace request that must succeed. @throws UnexecError `PROCESS_GONE` or `PTRACE_FAILED` */
export function must(what: string, tid: number, result: number): number {
  if (result >= 0) return result;
  if (result === -ERRNO.ESRCH) {
    throw new UnexecError('PROCESS_GONE', `process ${tid} ended while it was being ${what}`);
  }
  throw new UnexecError('PTRACE_FAILED', `thread ${tid} cannot be ${what}: ${errnoName(result)}`);
}

/** Room for a register set: AMX has 11 KiB, the widest SVE 9. */
const REGISTER_SET_ROOM = 32768;

/** A register set by its core note type (NT_*, elf.h), or undefined where kernel or CPU have none. */
export function getRegisterSet(tid: number, type: number, room = REGISTER_SET_ROOM): Uint8Array | undefined {
  const data = new Uint8Array(room);
  const iovec = iovecOf(data);
  if (ptraceWith(PTRACE.GETREGSET, tid, type, iovec) < 0) return undefined;
  return data.slice(0, Number(new DataView(iovec.buffer).getBigUint64(8, true)));
}

export function setRegisterSet(tid: number, type: number, data: Uint8Array): void {
  must('written (registers)', tid, ptraceWith(PTRACE.SETREGSET, tid, type, iovecOf(data)));
}

/** struct iovec: base, length. */
function iovecOf(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const iovec = new Uint8Array(16);
  const view = new DataView(iovec.buffer);
  view.setBigUint64(0, addressOf(data), true);
  view.setBigUint64(8, BigInt(data.length), true);
  return iovec;
}

export function getSignalMask(tid: number): bigint {
  const buffer = new Uint8Array(8);
  must('read (signal mask)', tid, ptraceWith(PTRACE.GETSIGMASK, tid, 8, buffer));
  return new DataView(buffer.buffer).getBigUint64(0, true);
}

export function setSignalMask(tid: number, mask: bigint): void {
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setBigUint64(0, mask, true);
  must('written (signal mask)', tid, ptraceWith(PTRACE.SETSIGMASK, tid, 8, buffer));
}

/** PTRACE_GETEVENTMSG: the new thread of a clone event, the exit status of an exit event. */
export function getEventMessage(tid: number): number {
  const buffer = new Uint8Array(8);
  must('read (event)', tid, ptraceWith(PTRACE.GETEVENTMSG, tid, 0, buffer));
  return Number(new DataView(buffer.buffer).getBigUint64(0, true));
}

/** siginfo_t (128 bytes) of the signal that a thread is stopped with. */
export function getSignalInfo(tid: number): Uint8Array {
  const buffer = new Uint8Array(128);
  must('read (signal)', tid, ptraceWith(PTRACE.GETSIGINFO, tid, 0, buffer));
  return buffer;
}

/** Pending signals, siginfo_t each: a thread's own, or those of its process. */
export function peekPendingSignals(tid: number, ofProcess: boolean): Uint8Array[] {
  const args = new Uint8Array(16);
  const view = new DataView(args.buffer);
  const found: Uint8Array[] = [];
  for (;;) {
    view.setBigUint64(0, BigInt(found.length), true);
    view.setUint32(8, ofProcess ? 1 : 0, true);
    view.setUint32(12, 1, true);
    const info = new Uint8Array(128);
    const read = ptrace(PTRACE.PEEKSIGINFO, tid, addressOf(args), addressOf(info));
    if (read <= 0) return found;
    found.push(info);
  }
}

export interface SyscallInfo {
  readonly entry: boolean;
  readonly nr: number;
  readonly args: readonly bigint[];
  readonly result: bigint;
}

const syscallInfo = new Uint8Array(96);
const syscallView = new DataView(syscallInfo.buffer);

/** PTRACE_GET_SYSCALL_INFO (Linux 5.3): what a thread in a syscall-stop is about to do or has done. */
export function getSyscallInfo(tid: number): SyscallInfo {
  must('read (system call)', tid, ptraceWith(PTRACE.GET_SYSCALL_INFO, tid, syscallInfo.length, syscallInfo));
  const entry = syscallInfo[0] === 1;
  return {
    entry,
    nr: entry ? Number(syscallView.getBigUint64(24, true)) : -1,
    args: entry ? [0, 1, 2, 3, 4, 5].map(i => syscallView.getBigUint64(32 + i * 8, true)) : [],
    result: entry ? 0n : syscallView.getBigInt64(24, true),
  };
}
