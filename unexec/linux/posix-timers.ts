/**
 * Timers of timer_create(2), as /proc/PID/timers lists them, with what remains of each.
 * Facts: proc(5), timer_create(2), timer_gettime(2); include/linux/posix-timers.h of Linux 6.1 (CPU clocks).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { Reason } from '../errors.ts';
import type { PosixTimer, Thread } from '../image.ts';
import { timerHelperWords } from '../word-search.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc } from './proc.ts';
import type { RemoteThread } from './remote.ts';

/** struct itimerspec: it_interval, it_value, each seconds and nanoseconds. */
const ITIMERSPEC_SIZE = 32;
/** Low bits of a clock of somebody in particular; above them the complement of a pid, tid or descriptor. */
const CLOCK_BITS = 7;
const PER_THREAD = 4;
const CLOCK_OF_DESCRIPTOR = 3;

export interface TimerFindings {
  readonly timers: PosixTimer[];
  readonly refusals: Reason[];
}

/** Reads all timers of a process. `scratch`: writable memory of it, 32 bytes. */
export function capturePosixTimers(
  pid: number,
  tids: readonly number[],
  main: RemoteThread,
  memory: Pick<ProcessMemory, 'bytes'>,
  scratch: bigint,
): TimerFindings {
  const timers: PosixTimer[] = [];
  const refusals: Reason[] = [];
  for (const { clockId, ...listed } of parseTimers(timersOf(pid))) {
    const clock = clockOf(clockId, listed.thread, pid, tids);
    if (clock === undefined) {
      refusals.push(refuseClock(listed.id, clockId));
      continue;
    }
    main.call('timer_gettime', listed.id, scratch);
    const spec = memory.bytes(scratch, ITIMERSPEC_SIZE);
    dueNow(spec);
    timers.push({ ...listed, clock, spec });
  }
  return { timers: timers.sort((a, b) => a.id - b.id), refusals };
}

/**
 * A periodic timer that is due at this very moment has nothing left (it_value is 0), which would disarm it.
 */
export function dueNow(spec: Uint8Array): void {
  const view = viewOf(spec);
  const isZero = (at: number): boolean =>
    view.getBigInt64(at, true) === 0n && view.getBigInt64(at + 8, true) === 0n;
  if (!isZero(0) && isZero(16)) view.setBigInt64(24, 1n, true);
}

/** A kernel without CONFIG_CHECKPOINT_RESTORE lists none. */
function timersOf(pid: number): string {
  try {
    return readProc(`/proc/${pid}/timers`);
  } catch {
    return '';
  }
}

type Listed = Omit<PosixTimer, 'clock' | 'spec'> & { readonly clockId: number };

const NOTIFICATIONS: ReadonlyMap<string, PosixTimer['notify']> = new Map([
  ['signal', 'signal'],
  ['none', 'none'],
  ['thread', 'thread'],
]);

/** Four lines a timer: `ID: 0`, `signal: 60/00007fff86e452a8`, `notify: signal/tid.2634`, `ClockID: 0`. */
export function parseTimers(text: string): Listed[] {
  const entries = text.matchAll(
    /^ID: (\d+)\nsignal: (\d+)\/([0-9a-f]+)\nnotify: (\w+)\/(pid|tid)\.(-?\d+)\nClockID: (-?\d+)$/gm,
  );
  return [...entries].map(([, id, signal, value, notify = '', whom, target, clock]) => ({
    id: Number(id),
    signal: Number(signal),
    value: BigInt(`0x${value}`),
    notify: NOTIFICATIONS.get(notify) ?? 'signal',
    thread: whom === 'tid' ? Number(target) : undefined,
    clockId: Number(clock),
  }));
}

/**
 * The clock in terms that mean the same in another process. Of a thread's own CPU clock
 * (CLOCK_THREAD_CPUTIME_ID) it is not told whose it is: that of the only thread, or of the one that the timer
 * tells.
 */
function clockOf(
  id: number,
  told: number | undefined,
  pid: number,
  tids: readonly number[],
): PosixTimer['clock'] | undefined {
  if (id >= 0) return { id };
  const bits = id & CLOCK_BITS;
  if ((bits & 3) === CLOCK_OF_DESCRIPTOR) return undefined;
  const owner = ~(id >> 3);
  if ((bits & PER_THREAD) === 0) return owner === 0 || owner === pid ? { id: bits | (~0 << 3) } : undefined;
  const thread = owner !== 0 ? owner : tids.length === 1 ? tids[0] : told;
  return thread !== undefined && tids.includes(thread) ? { id: bits, thread } : undefined;
}

const refuseClock = (timer: number, clock: number): Reason => ({
  code: 'POSIX_TIMER_CLOCK',
  what: `timer ${timer} of timer_create(2) runs by a clock that is not known here (${clock}): of another process, a device, or one of several threads`,
  remedy: 'choose a freeze point before it is made, or after timer_delete',
});

/**
 * glibc calls functions (SIGEV_THREAD) from a thread of its own, whose id it remembers for the timers to come:
 * the words that hold it, by thread.
 */
export function timerHelper(
  timers: readonly PosixTimer[],
  threads: readonly Thread[],
  view: Parameters<typeof timerHelperWords>[0],
): Map<number, bigint[]> {
  const helpers = new Set(
    timers.flatMap(({ signal, thread }) => (signal === SIGTIMER && thread !== undefined ? [thread] : [])),
  );
  return new Map(
    threads.filter(({ tid }) => helpers.has(tid)).map(({ tid }) => [tid, timerHelperWords(view, tid)]),
  );
}

/** The signal that glibc keeps for it: the first one that SIGRTMIN leaves out. */
const SIGTIMER = 32;
