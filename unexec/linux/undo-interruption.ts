/**
 * A stop by ptrace(2) makes some system calls fail with EINTR, as a stop by SIGSTOP does (signal(7), «Interruption of
 * system calls and library functions by stop signals»): epoll_wait, semop, sigtimedwait, inotify reads and others. No
 * program is to see that, in this life or a later one.
 *
 * @module
 */
import { ARCHITECTURE } from './arch.ts';
import { ProcessMemory } from './memory.ts';
import type { Stop } from './stop.ts';
import type { Tracee } from './tracee.ts';

const MAY_BE_IN_A_CALL: ReadonlySet<Stop['type']> = new Set(['interrupted', 'group-stop', 'syscall-exit']);

/** Lets calls that failed because their threads were stopped be made again. The threads stand. */
export function undoInterruption(tracee: Tracee): void {
  for (const { tid, stop, waitedIn } of tracee.threads.values()) {
    // Where calls are followed, the thread stands at the exit of the one that failed.
    if (stop === undefined || !MAY_BE_IN_A_CALL.has(stop.type)) continue;
    ARCHITECTURE.undoInterruption(tid, waitedIn, (address, length) => codeOf(tracee.pid, address, length));
  }
}

function codeOf(pid: number, address: bigint, length: number): Uint8Array {
  const memory = new ProcessMemory(pid);
  try {
    return memory.bytes(address, length);
  } finally {
    memory.close();
  }
}
