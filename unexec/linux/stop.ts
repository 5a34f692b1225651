/**
 * Why a traced thread stands. Facts: ptrace(2), "Stopped states"; wait(2).
 *
 * @module
 */
import { getEventMessage, getSyscallInfo, PTRACE_EVENT } from './ptrace.ts';

/** Signal numbers that matter here (asm/signal.h, the same on x86-64 and AArch64). */
export const SIGNAL = { SIGTRAP: 5, SIGKILL: 9, SIGSTOP: 19, SIGWINCH: 28 } as const;

export type Stop = { readonly tid: number } & (
  | { readonly type: 'exec' }
  | { readonly type: 'syscall-entry'; readonly nr: number; readonly args: readonly bigint[] }
  | { readonly type: 'syscall-exit'; readonly result: bigint }
  | { readonly type: 'signal'; readonly signal: number }
  | { readonly type: 'new-thread'; readonly child: number }
  | { readonly type: 'new-process'; readonly child: number }
  | { readonly type: 'vfork-done' }
  | { readonly type: 'interrupted' }
  | { readonly type: 'group-stop'; readonly signal: number }
  | { readonly type: 'exiting' }
  | { readonly type: 'ended'; readonly how: string }
);

/** What a wait status says. Must be asked while the thread stands: some stops have more to tell. */
export function decodeStop(tid: number, status: number): Stop {
  if ((status & 0x7f) === 0) return { type: 'ended', tid, how: `exit status ${(status >> 8) & 0xff}` };
  if ((status & 0xff) !== 0x7f) return { type: 'ended', tid, how: `signal ${status & 0x7f}` };
  const signal = (status >> 8) & 0xff;
  switch (status >> 16) {
    case PTRACE_EVENT.EXEC:
      return { type: 'exec', tid };
    case PTRACE_EVENT.CLONE:
      return { type: 'new-thread', tid, child: getEventMessage(tid) };
    case PTRACE_EVENT.FORK:
    case PTRACE_EVENT.VFORK:
      return { type: 'new-process', tid, child: getEventMessage(tid) };
    case PTRACE_EVENT.VFORK_DONE:
      return { type: 'vfork-done', tid };
    case PTRACE_EVENT.EXIT:
      return { type: 'exiting', tid };
    case PTRACE_EVENT.STOP:
      return signal === SIGNAL.SIGTRAP ? { type: 'interrupted', tid } : { type: 'group-stop', tid, signal };
  }
  if (signal !== (SIGNAL.SIGTRAP | 0x80)) return { type: 'signal', tid, signal };
  const info = getSyscallInfo(tid);
  return info.entry
    ? { type: 'syscall-entry', tid, nr: info.nr, args: info.args }
    : { type: 'syscall-exit', tid, result: info.result };
}
