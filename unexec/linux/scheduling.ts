/**
 * How threads are scheduled, where that is not how we are: what a program has not set for itself it has from
 * who started it, and a later life has it from who starts that.
 * Facts: sched_setattr(2), sched_setaffinity(2), ioprio_set(2), prctl(2) (PR_SET_TIMERSLACK).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { Scheduling } from '../image.ts';
import { syscall } from './libc.ts';
import type { RemoteThread } from './remote.ts';

const PR_GET_TIMERSLACK = 30;
/** SCHED_ATTR_SIZE_VER0: all but the clamps of utilisation. */
const SCHED_ATTR_SIZE = 48;
/** 8192 CPUs; the kernel fills as many bytes as it has CPUs for. */
const CPU_SET_SIZE = 1024;
const IOPRIO_WHO_PROCESS = 1;
const USUAL_SLACK = 50_000n;

/** What the thread has that a thread of ours has not. */
export function captureScheduling(remote: RemoteThread): Scheduling {
  const { tid } = remote;
  const slack = remote.call('prctl', PR_GET_TIMERSLACK, 0, 0, 0, 0);
  return {
    attributes: unlike(schedulingAttributes(tid), schedulingAttributes(0)),
    affinity: unlike(cpuSet(tid), cpuSet(0)),
    ioPriority: ioPriority(tid),
    timerSlack: slack < 0n || slack === USUAL_SLACK ? undefined : slack,
  };
}

function unlike(theirs: Uint8Array | undefined, ours: Uint8Array | undefined): Uint8Array | undefined {
  if (theirs === undefined) return undefined;
  return ours !== undefined && Buffer.compare(theirs, ours) === 0 ? undefined : theirs;
}

function schedulingAttributes(tid: number): Uint8Array | undefined {
  const bytes = new Uint8Array(SCHED_ATTR_SIZE);
  if (syscall('sched_getattr', tid, bytes, bytes.length, 0) < 0) return undefined;
  // sched_runtime tells the slice of a fair task since Linux 6.12, which is the kernel's choice and not the task's.
  const view = viewOf(bytes);
  const isFair = FAIR.has(view.getUint32(4, true));
  if (isFair) bytes.fill(0, SCHED_RUNTIME);
  return bytes;
}

/** SCHED_OTHER, SCHED_BATCH, SCHED_IDLE. */
const FAIR: ReadonlySet<number> = new Set([0, 3, 5]);
const SCHED_RUNTIME = 24;

function cpuSet(tid: number): Uint8Array | undefined {
  const bytes = new Uint8Array(CPU_SET_SIZE);
  const length = syscall('sched_getaffinity', tid, bytes.length, bytes);
  return length < 0 ? undefined : bytes.slice(0, length);
}

/** Without one of its own, a thread's is computed from its nice value: that is not kept. */
function ioPriority(tid: number): number | undefined {
  const theirs = syscall('ioprio_get', IOPRIO_WHO_PROCESS, tid);
  const ours = syscall('ioprio_get', IOPRIO_WHO_PROCESS, 0);
  return theirs < 0 || theirs === ours ? undefined : theirs;
}
