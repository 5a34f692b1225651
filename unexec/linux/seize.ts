/**
 * Beginning to trace a process that runs (PTRACE_SEIZE). Facts: ptrace(2).
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { ERRNO } from './errno.ts';
import { ptrace } from './libc.ts';
import { notPermitted } from './may-trace.ts';
import { readProcNumbers, readStatus, threadState } from './proc.ts';
import { must, PTRACE, PTRACE_O } from './ptrace.ts';
import { Tracee } from './tracee.ts';
import { leaveStopsUnheard } from './unheard-stops.ts';

const OPTIONS =
  PTRACE_O.TRACESYSGOOD |
  PTRACE_O.TRACEEXEC |
  PTRACE_O.TRACECLONE |
  PTRACE_O.TRACEFORK |
  PTRACE_O.TRACEVFORK |
  PTRACE_O.TRACEVFORKDONE |
  PTRACE_O.TRACEEXIT;

/** Traces a child of ours that has one thread, which goes on running; it dies with us, however we end. */
export function seizeChild(pid: number, signal: AbortSignal | undefined): Tracee {
  const seized = ptrace(PTRACE.SEIZE, pid, 0, OPTIONS | PTRACE_O.EXITKILL);
  if (seized === -ERRNO.EPERM) throw notPermitted(pid);
  must('traced', pid, seized);
  const tracee = new Tracee(pid, signal);
  tracee.add(pid);
  return tracee;
}

/**
 * Traces a process that we did not start, with all its threads, which go on running. It survives us: the kernel
 * lets it go on when we end in whatever way.
 *
 * Threads start and end meanwhile: a new one of a thread that is traced is traced from its first instruction, and
 * the list of all is read until it has nothing new.
 *
 * @throws UnexecError as `notPermitted`; `PROCESS_GONE`
 */
export function seizeProcess(pid: number, tracee: Tracee): void {
  leaveStopsUnheard();
  const seen = new Set<number>();
  for (;;) {
    const fresh = readProcNumbers(`/proc/${pid}/task`).filter(tid => !seen.has(tid));
    if (fresh.length === 0) return;
    for (const tid of fresh) {
      seen.add(tid);
      seizeThread(tracee, tid);
    }
  }
}

function seizeThread(tracee: Tracee, tid: number): void {
  if (tracee.threads.has(tid)) return;
  const seized = ptrace(PTRACE.SEIZE, tid, 0, OPTIONS);
  if (seized === -ERRNO.ESRCH) return; // it has ended
  if (seized === -ERRNO.EPERM && !isOurs(tracee, tid)) {
    // The first thread of a process whose other threads go on stays as a zombie: `stopAll` tells.
    if (['Z', 'X'].includes(threadState(tracee.pid, tid)) && tid !== tracee.pid) return;
    throw notPermitted(tracee.pid);
  }
  if (seized !== -ERRNO.EPERM) must('traced', tid, seized);
  tracee.add(tid);
}

/** A new thread of one that is traced is traced already. One that has ended is nobody's. */
function isOurs(tracee: Tracee, tid: number): boolean {
  const [first] = tracee.threads.keys();
  if (first === undefined) return false;
  const tracer = tracerOf(tracee.pid, tid);
  return tracer !== undefined && tracer !== '0' && tracer === tracerOf(tracee.pid, first);
}

function tracerOf(pid: number, tid: number): string | undefined {
  try {
    return readStatus(pid, tid).get('TracerPid');
  } catch (error) {
    if (error instanceof UnexecError && error.code === 'PROCESS_GONE') return undefined;
    throw error;
  }
}
