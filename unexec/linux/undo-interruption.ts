/**
 * A stop by ptrace(2) makes some system calls fail with EINTR, as a stop by SIGSTOP does (signal(7), «Interruption of
 * system calls and library functions by stop signals»): epoll_wait, semop, sigtimedwait, inotify reads and others. A
 * process that we found is not to see that.
 *
 * @module
 */
import { ARCHITECTURE } from './arch.ts';
import { ProcessMemory } from './memory.ts';
import type { Tracee } from './tracee.ts';

/** Lets calls that failed because their threads were stopped be made again. The threads stand. */
export function undoInterruption(tracee: Tracee): void {
  for (const { tid, stop, waitedIn } of tracee.threads.values()) {
    if (stop?.type !== 'interrupted' && stop?.type !== 'group-stop') continue;
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
