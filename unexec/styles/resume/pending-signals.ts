/**
 * Steps that make signals pending again, each with its siginfo. Those of a thread must be sent by that
 * thread: the kernel lets nobody else claim such an origin. Facts: rt_sigqueueinfo(2), sigaction(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { ProcessImage, Thread } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef, Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

const SIGSTOP = 19;
const SIGWINCH = 28;
/** siginfo_t: si_signo, si_errno, si_code, padding, si_pid. */
const SIGINFO = { si_signo: 0, si_code: 8, si_pid: 16 } as const;
/** SI_USER, SI_QUEUE, SI_MESGQ, SI_TKILL: codes that come with the sender's pid. */
const FROM_A_PROCESS: ReadonlySet<number> = new Set([0, -1, -3, -6]);

/** Signals of the process; where it has a terminal, the news that its size may be another one. */
export function pendingOfProcess(program: RestoreProgram, image: ProcessImage): void {
  const hasTerminal = image.files.some(({ what }) => what.type === 'stdio' && what.termios !== undefined);
  const pending = image.pendingSignals.filter(mayBePending);
  if (!hasTerminal && pending.length === 0) return;
  const pid = processId(program);
  for (const info of pending) {
    const signal = signalOf(info);
    const ref = siginfo(program, image, info, pid);
    program.syscall(`pending signal ${signal}`, NR.rt_sigqueueinfo, [pid, signal, ref]);
  }
  if (hasTerminal) program.syscall('SIGWINCH', NR.kill, [pid, SIGWINCH], { bestEffort: true });
}

/** Signals of one thread, sent by itself. */
export function pendingOfThread(program: RestoreProgram, image: ProcessImage, thread: Thread): void {
  const pending = thread.pendingSignals.filter(mayBePending);
  if (pending.length === 0) return;
  const pid = processId(program);
  const tid = program.slot();
  program.syscall('thread id', NR.gettid, [], { into: tid });
  for (const info of pending) {
    const signal = signalOf(info);
    const ref = siginfo(program, image, info, pid);
    program.syscall(`pending signal ${signal}`, NR.rt_tgsigqueueinfo, [pid, tid, signal, ref]);
  }
}

/** A stop that was on its way would stop the second life. */
const mayBePending = (info: Uint8Array): boolean => signalOf(info) !== SIGSTOP;

const signalOf = (info: Uint8Array): number => viewOf(info).getInt32(SIGINFO.si_signo, true);

function processId(program: RestoreProgram): Slot {
  const pid = program.slot();
  program.syscall('process id', NR.getpid, [], { into: pid });
  return pid;
}

/** What the process sent to itself comes from the process that it is now. */
function siginfo(program: RestoreProgram, image: ProcessImage, info: Uint8Array, pid: Slot): DataRef {
  const ref = program.writable(info);
  const view = viewOf(info);
  const fromItself =
    FROM_A_PROCESS.has(view.getInt32(SIGINFO.si_code, true)) &&
    view.getInt32(SIGINFO.si_pid, true) === image.origin.pid;
  if (fromItself) program.operation('STORE32', 'sender', [{ ...ref, offset: SIGINFO.si_pid }, pid]);
  return ref;
}
