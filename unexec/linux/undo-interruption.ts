/**
 * A stop by ptrace(2) makes some system calls fail with EINTR, as a stop by SIGSTOP does (signal(7), «Interruption of
 * system calls and library functions by stop signals»): epoll_wait, semop, sigtimedwait, inotify reads and others. A
 * process that we found is not to see that.
 *
 * @module
 */
import { getRegisters, setRegisters } from './ptrace.ts';
import type { Tracee } from './tracee.ts';

const EINTR = -4n;
/** «Make the call again unless a handler runs; then EINTR» (linux/errno.h): the kernel decides when it goes on. */
const ERESTARTNOHAND = -514n;
/** Its descriptor is closed even where it fails. */
const SYS_close = 3n;

/** Lets calls that failed because their threads were stopped be made again. The threads stand. */
export function undoInterruption(tracee: Tracee): void {
  for (const { tid, stop } of tracee.threads.values()) {
    if (stop?.type !== 'interrupted' && stop?.type !== 'group-stop') continue;
    const registers = getRegisters(tid);
    const nr = BigInt.asIntN(64, registers.orig_rax);
    if (nr < 0n || nr === SYS_close || BigInt.asIntN(64, registers.rax) !== EINTR) continue;
    setRegisters(tid, { ...registers, rax: BigInt.asUintN(64, ERESTARTNOHAND) });
  }
}
