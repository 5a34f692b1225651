/**
 * Steps that bring a thread back: TLS, tid, robust list, rseq, priority, name. All else is in its signal frame.
 * Facts: clone(2), set_tid_address(2), arch_prctl(2), get_robust_list(2), linux/rseq.h.
 *
 * @module
 */
import { type ProcessImage, type Rseq, type Thread, threadPointer } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef, Slot } from '../../restorer/steps.ts';
import { pendingOfThread } from './pending-signals.ts';
import { schedulingSteps } from './scheduling.ts';
import { vectorLength } from './signal-frame/aarch64.ts';
import { registerOffset } from './signal-frame.ts';
import { NR } from './system-calls.ts';

const CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000;
const CLONE_PARENT_SETTID = 0x100000;
const CLONE_CHILD_CLEARTID = 0x200000;
const ARCH_SET_GS = 0x1001;
const PR_SVE_SET_VL = 50;
const PR_SET_NAME = 15;
const ROBUST_LIST_HEAD_SIZE = 24;
const FUTEX_WAKE_PRIVATE = 129;
/** RSEQ_CPU_ID_REGISTRATION_FAILED (linux/rseq.h): libraries then ask getcpu(2). */
const RSEQ_FAILED = 0xffff_fffe;

/** The new id of each thread by its old one. */
export type ThreadIds = Map<number, Slot>;

/** Creates every thread but the first; each runs a program of its own (`threadPrograms`). */
export function createThreads(
  program: RestoreProgram,
  image: ProcessImage,
  frames: readonly DataRef[],
): ThreadIds {
  const ids: ThreadIds = new Map();
  for (const [i, thread] of image.threads.slice(1).entries()) {
    const tid = program.slot();
    ids.set(thread.tid, tid);
    const { clearTid } = thread;
    const setsTid = clearTid !== 0n && thread.tidWords.includes(clearTid);
    const flags =
      CLONE_THREAD_FLAGS | (setsTid ? CLONE_PARENT_SETTID : 0) | (clearTid === 0n ? 0 : CLONE_CHILD_CLEARTID);
    program.operation(
      'CLONE',
      `create thread ${thread.tid} (${thread.name})`,
      [flags, 0, setsTid ? clearTid : 0, clearTid, threadPointer(thread), { label: threadLabel(i) }],
      { into: tid },
      NR.clone,
    );
    for (const word of thread.tidWords) {
      if (!setsTid || word !== clearTid) program.operation('STORE32', 'thread id', [word, tid]);
    }
    tidInRegisters(program, thread, frames[i + 1], tid);
  }
  return ids;
}

/** The ids that the thread holds in registers, in the frame that sets them. */
function tidInRegisters(
  program: RestoreProgram,
  thread: Thread,
  frame: DataRef | undefined,
  tid: Slot,
): void {
  if (frame === undefined) return;
  for (const name of thread.tidRegisters) {
    const at = { ...frame, offset: frame.offset + registerOffset(name) };
    program.operation('STORE32', `thread id in ${name}`, [at, tid]);
  }
}

const threadLabel = (index: number): string => `thread ${index + 1}`;

/**
 * The programs of the other threads, to be placed after the end of the main one: each waits until `go`
 * is set and ends in its frame.
 */
export function threadPrograms(
  program: RestoreProgram,
  image: ProcessImage,
  frames: readonly DataRef[],
  go: DataRef,
  features: ThreadFeatures,
): void {
  for (const [i, thread] of image.threads.slice(1).entries()) {
    const frame = frames[i + 1];
    if (frame === undefined) continue;
    program.labelNext(threadLabel(i));
    threadState(program, thread, features);
    pendingOfThread(program, image, thread);
    program.operation('AWAIT', 'wait for the other threads', [go, 1]);
    program.operation('SIGRETURN', `registers of thread ${thread.tid}`, [frame]);
  }
}

export interface ThreadFeatures {
  /** Register restartable sequences again. */
  readonly rseq: boolean;
}

/** TLS, tid and all else of the first thread. Gives its new id. */
export function mainThread(
  program: RestoreProgram,
  image: ProcessImage,
  thread: Thread,
  frame: DataRef,
  features: ThreadFeatures,
): Slot {
  const tid = program.slot();
  program.operation('THREAD_POINTER', 'set the thread pointer', [threadPointer(thread)]);
  program.syscall('set the clear-tid address', NR.set_tid_address, [thread.clearTid], { into: tid });
  for (const word of thread.tidWords) program.operation('STORE32', 'thread id', [word, tid]);
  tidInRegisters(program, thread, frame, tid);
  threadState(program, thread, features);
  pendingOfThread(program, image, thread);
  return tid;
}

/** What a thread must say about itself. */
function threadState(program: RestoreProgram, thread: Thread, features: ThreadFeatures): void {
  const { machine } = thread;
  if (machine.arch === 'x86_64' && machine.registers.gs_base !== 0n) {
    program.syscall('set the GS base', NR.arch_prctl, [ARCH_SET_GS, machine.registers.gs_base]);
  }
  if (machine.arch === 'aarch64' && machine.sve !== undefined) setVectorLength(program, machine.sve);
  if (thread.robustList !== 0n) {
    program.syscall('set the robust list', NR.set_robust_list, [thread.robustList, ROBUST_LIST_HEAD_SIZE], {
      bestEffort: true,
    });
  }
  if (thread.rseq !== undefined) restartableSequences(program, thread.rseq, features.rseq);
  schedulingSteps(program, thread.scheduling);
  // Names are bytes, told as latin1.
  const name = program.data(Buffer.from(`${thread.name}\0`, 'latin1'), 1);
  program.syscall('set the thread name', NR.prctl, [PR_SET_NAME, name], {
    bestEffort: true,
  });
}

/** What the thread has asked the CPU already; the kernel takes the next smaller one that the CPU has. */
function setVectorLength(program: RestoreProgram, sve: Uint8Array): void {
  const length = vectorLength(sve);
  const result = program.slot();
  program.syscall('set the length of SVE vectors', NR.prctl, [PR_SVE_SET_VL, length, 0, 0, 0], {
    into: result,
  });
  program.operation('AT_MOST', `this CPU has no SVE vectors of ${length} bytes`, [length, result]);
}

/** Where it cannot be registered, the area says so, and libraries ask getcpu(2) instead. */
function restartableSequences(program: RestoreProgram, rseq: Rseq, available: boolean): void {
  program.operation('STORE', 'leave the restartable sequence', [rseq.address + 8n, 0]);
  program.operation('STORE32', 'no CPU number yet', [rseq.address + 4n, RSEQ_FAILED]);
  if (!available) return;
  program.syscall('register rseq', NR.rseq, [rseq.address, rseq.length, 0, rseq.signature], {
    bestEffort: true,
  });
}

/** Lets the threads go; each is then on its way into its frame. */
export function releaseThreads(program: RestoreProgram, image: ProcessImage, go: DataRef): void {
  if (image.threads.length === 1) return;
  program.operation('STORE32', 'release the threads', [go, 1]);
  program.syscall('wake the threads', NR.futex, [go, FUTEX_WAKE_PRIVATE, 0x7fff_ffff]);
}
