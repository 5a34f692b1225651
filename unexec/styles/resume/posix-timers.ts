/**
 * Steps that make timers of timer_create(2) again, each with the id that it had: libraries keep it, or have
 * given it away. Facts: timer_create(2), prctl(2) (PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { PosixTimer, ProcessImage } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { type DataRef, LARGEST_RESULT, type Slot, type StepArgument } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

const PR_TIMER_CREATE_RESTORE_IDS = 77;
/** struct sigevent: sigev_value, sigev_signo, sigev_notify, sigev_notify_thread_id (asm-generic/siginfo.h). */
const SIGEVENT = { size: 64, signo: 8, notify: 12, tid: 16 } as const;
const NOTIFY = { signal: 0, none: 1, thread: 2 } as const;
const SIGEV_THREAD_ID = 4;

/**
 * Makes and sets all timers. `threads`: the new id of each thread by its old one.
 *
 * @param exactIds whether the kernel may be asked for a certain id; otherwise, and where it knows of no such
 *   thing, timers are made and deleted until the id comes: ids are given upwards from 0.
 */
export function posixTimerSteps(
  program: RestoreProgram,
  image: ProcessImage,
  threads: ReadonlyMap<number, Slot>,
  exactIds: boolean,
): void {
  if (image.posixTimers.length === 0) return;
  const exact = program.slot();
  program.operation('SET', 'no exact timer ids', [0, 0, 1], { into: exact });
  if (exactIds) {
    program.syscall('exact timer ids', NR.prctl, [PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0], {
      bestEffort: true,
      into: exact,
    });
  }
  for (const timer of image.posixTimers) createTimer(program, timer, threads, exact);
  if (exactIds) {
    program.syscall('timer ids as they come', NR.prctl, [PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0], {
      bestEffort: true,
    });
  }
  for (const { id, spec } of image.posixTimers) {
    program.syscall(`set timer ${id}`, NR.timer_settime, [id, 0, program.data(spec), 0]);
  }
}

function createTimer(
  program: RestoreProgram,
  timer: PosixTimer,
  threads: ReadonlyMap<number, Slot>,
  exact: Slot,
): void {
  const { id } = timer;
  const clock = clockArgument(program, timer.clock, threads);
  const event = sigevent(program, timer, threads);
  const wanted = new Uint8Array(4);
  viewOf(wanted).setInt32(0, id, true);
  const made = program.writable(wanted.slice());
  const create = (): void => program.syscall(`make timer ${id}`, NR.timer_create, [clock, event, made], {});
  program.when('AT_MOST', 'exact timer ids', [exact, LARGEST_RESULT], create, () => {
    const other = program.slot();
    program.operation('SET', 'no timer yet', [0, 0, 1], { into: other });
    program.until('COMPARE', `the timer is ${id}`, [made, program.data(wanted), 4], () => {
      program.syscall('delete the timer before', NR.timer_delete, [other], { bestEffort: true });
      create();
      program.operation('LOAD32', 'id of the timer', [made, 0], { into: other });
    });
  });
  program.operation('COMPARE', `the timer is not ${id}`, [made, program.data(wanted), 4]);
}

/** MAKE_THREAD_CPUCLOCK(tid, bits) is ~tid * 8 + bits (include/linux/posix-timers.h). */
function clockArgument(
  program: RestoreProgram,
  { id, thread }: PosixTimer['clock'],
  threads: ReadonlyMap<number, Slot>,
): StepArgument {
  if (thread === undefined) return id;
  const clock = program.slot();
  const name = 'CPU clock of a thread';
  const tid = threads.get(thread);
  program.operation('SET', name, [tid ?? 0, tid ?? 0, 0], { into: clock });
  program.operation('SET', name, [clock, clock, 0], { into: clock });
  program.operation('SET', name, [clock, clock, 0], { into: clock });
  program.operation('SET', name, [id - 8, 0, clock], { into: clock });
  return clock;
}

function sigevent(program: RestoreProgram, timer: PosixTimer, threads: ReadonlyMap<number, Slot>): DataRef {
  const bytes = new Uint8Array(SIGEVENT.size);
  const view = viewOf(bytes);
  const thread = timer.thread === undefined ? undefined : threads.get(timer.thread);
  view.setBigUint64(0, timer.value, true);
  view.setInt32(SIGEVENT.signo, timer.signal, true);
  view.setInt32(SIGEVENT.notify, NOTIFY[timer.notify] | (thread === undefined ? 0 : SIGEV_THREAD_ID), true);
  const event = program.writable(bytes);
  if (thread !== undefined) {
    const at = { ...event, offset: event.offset + SIGEVENT.tid };
    program.operation('STORE32', 'thread of the timer', [at, thread]);
  }
  return event;
}
