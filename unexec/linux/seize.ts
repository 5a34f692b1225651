/**
 * Beginning to trace a process that runs (PTRACE_SEIZE). Facts: ptrace(2).
 *
 * @module
 */
import { ERRNO } from './errno.ts';
import { ptrace } from './libc.ts';
import { notPermitted } from './may-trace.ts';
import { must, PTRACE, PTRACE_O } from './ptrace.ts';
import { Tracee } from './tracee.ts';

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
