/**
 * Steps that bring a thread back: TLS, tid, robust list, rseq, name; and the signal frame through which
 * rt_sigreturn(2) puts registers, FPU state, signal mask and alternate stack back in one go.
 * Facts: asm/sigcontext.h, asm/ucontext.h, arch/x86/kernel/fpu/signal.c of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { ProcessImage, RegisterName, Rseq, Thread } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef, Slot } from '../../restorer/steps.ts';
import { pendingOfThread } from './pending-signals.ts';
import { NR } from './system-calls.ts';

const CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000;
const CLONE_PARENT_SETTID = 0x100000;
const CLONE_CHILD_CLEARTID = 0x200000;
const ARCH_SET_GS = 0x1001;
const ARCH_SET_FS = 0x1002;
const PR_SET_NAME = 15;
const ROBUST_LIST_HEAD_SIZE = 24;
const FUTEX_WAKE_PRIVATE = 129;
/** RSEQ_CPU_ID_REGISTRATION_FAILED (linux/rseq.h): libraries then ask getcpu(2). */
const RSEQ_FAILED = 0xffff_fffe;

const UC_FP_XSTATE = 1n;
const UC_SIGCONTEXT_SS = 2n;
const UC_STRICT_RESTORE_SS = 4n;
const UCONTEXT = { flags: 0, stack: 16, sigcontext: 40, sigmask: 40 + 256, size: 40 + 256 + 8 } as const;
/** Offsets within struct sigcontext: general registers in this order, then the segments. */
const SIGCONTEXT_ORDER: readonly RegisterName[] = [
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rdi',
  'rsi',
  'rbp',
  'rbx',
  'rdx',
  'rax',
  'rcx',
  'rsp',
  'rip',
  'eflags',
];
const SEGMENTS_OFFSET = SIGCONTEXT_ORDER.length * 8;
const FPSTATE_POINTER_OFFSET = SEGMENTS_OFFSET + 8 + 4 * 8;
const FP_XSTATE_MAGIC1 = 0x46505853;
const FP_XSTATE_MAGIC2 = 0x46505845;
const XSAVE_LEGACY_SIZE = 512;
const SOFTWARE_BYTES = 464;

/** Offset of a register within a frame made by `signalFrame`. */
export const registerOffset = (name: RegisterName): number =>
  UCONTEXT.sigcontext + SIGCONTEXT_ORDER.indexOf(name) * 8;

/** The frame of one thread, as data of the program. */
export function signalFrame(program: RestoreProgram, thread: Thread): DataRef {
  const frame = new Uint8Array(UCONTEXT.size);
  const view = viewOf(frame);
  const hasState = thread.xstate.length > XSAVE_LEGACY_SIZE;
  view.setBigUint64(
    UCONTEXT.flags,
    UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (hasState ? UC_FP_XSTATE : 0n),
    true,
  );
  view.setBigUint64(UCONTEXT.stack, thread.altStack.sp, true);
  view.setInt32(UCONTEXT.stack + 8, thread.altStack.flags, true);
  view.setBigUint64(UCONTEXT.stack + 16, BigInt(thread.altStack.size), true);
  for (const [i, name] of SIGCONTEXT_ORDER.entries()) {
    view.setBigUint64(UCONTEXT.sigcontext + i * 8, thread.registers[name], true);
  }
  for (const [i, name] of (['cs', 'gs', 'fs', 'ss'] as const).entries()) {
    view.setUint16(
      UCONTEXT.sigcontext + SEGMENTS_OFFSET + i * 2,
      Number(BigInt.asUintN(16, thread.registers[name])),
      true,
    );
  }
  view.setBigUint64(UCONTEXT.sigmask, thread.signalMask, true);
  const ref = program.data(frame, 64);
  if (thread.xstate.length >= XSAVE_LEGACY_SIZE) {
    const state = program.data(fpState(thread.xstate), 64);
    program.pointer({ ...ref, offset: UCONTEXT.sigcontext + FPSTATE_POINTER_OFFSET }, state);
  }
  return ref;
}

/**
 * The XSAVE area with what the kernel asks for around it: the software-reserved bytes and the second
 * magic number. x87 and SSE are marked as in use: their part of the area is always valid, and a
 * component that is not marked would get its initial state.
 */
function fpState(xstate: Uint8Array): Uint8Array {
  const hasState = xstate.length > XSAVE_LEGACY_SIZE;
  const state = new Uint8Array(xstate.length + 4);
  state.set(xstate);
  if (!hasState) return state;
  const view = viewOf(state);
  const xcr0 = view.getBigUint64(SOFTWARE_BYTES, true);
  state.fill(0, SOFTWARE_BYTES, XSAVE_LEGACY_SIZE);
  view.setUint32(SOFTWARE_BYTES, FP_XSTATE_MAGIC1, true);
  view.setUint32(SOFTWARE_BYTES + 4, state.length, true);
  view.setBigUint64(SOFTWARE_BYTES + 8, xcr0, true);
  view.setUint32(SOFTWARE_BYTES + 16, xstate.length, true);
  view.setBigUint64(XSAVE_LEGACY_SIZE, view.getBigUint64(XSAVE_LEGACY_SIZE, true) | 3n, true);
  view.setUint32(xstate.length, FP_XSTATE_MAGIC2, true);
  return state;
}

/** Creates every thread but the first; each runs a program of its own (`threadPrograms`). */
export function createThreads(
  program: RestoreProgram,
  image: ProcessImage,
  frames: readonly DataRef[],
): void {
  for (const [i, thread] of image.threads.slice(1).entries()) {
    const tid = program.slot();
    const { clearTid } = thread;
    const setsTid = clearTid !== 0n && thread.tidWords.includes(clearTid);
    const flags =
      CLONE_THREAD_FLAGS | (setsTid ? CLONE_PARENT_SETTID : 0) | (clearTid === 0n ? 0 : CLONE_CHILD_CLEARTID);
    program.operation(
      'CLONE',
      `create thread ${thread.tid} (${thread.name})`,
      [flags, 0, setsTid ? clearTid : 0, clearTid, thread.registers.fs_base, { label: threadLabel(i) }],
      { into: tid },
      NR.clone,
    );
    for (const word of thread.tidWords) {
      if (!setsTid || word !== clearTid) program.operation('STORE32', 'thread id', [word, tid]);
    }
    tidInRegisters(program, thread, frames[i + 1], tid);
  }
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

/** TLS, tid and all else of the first thread. */
export function mainThread(
  program: RestoreProgram,
  image: ProcessImage,
  thread: Thread,
  frame: DataRef,
  features: ThreadFeatures,
): void {
  const tid = program.slot();
  program.syscall('set the FS base', NR.arch_prctl, [ARCH_SET_FS, thread.registers.fs_base]);
  program.syscall('set the clear-tid address', NR.set_tid_address, [thread.clearTid], { into: tid });
  for (const word of thread.tidWords) program.operation('STORE32', 'thread id', [word, tid]);
  tidInRegisters(program, thread, frame, tid);
  threadState(program, thread, features);
  pendingOfThread(program, image, thread);
}

/** What a thread must say about itself. */
function threadState(program: RestoreProgram, thread: Thread, features: ThreadFeatures): void {
  if (thread.registers.gs_base !== 0n) {
    program.syscall('set the GS base', NR.arch_prctl, [ARCH_SET_GS, thread.registers.gs_base]);
  }
  if (thread.robustList !== 0n) {
    program.syscall('set the robust list', NR.set_robust_list, [thread.robustList, ROBUST_LIST_HEAD_SIZE], {
      bestEffort: true,
    });
  }
  if (thread.rseq !== undefined) restartableSequences(program, thread.rseq, features.rseq);
  // Names are bytes, told as latin1.
  const name = program.data(Buffer.from(`${thread.name}\0`, 'latin1'), 1);
  program.syscall('set the thread name', NR.prctl, [PR_SET_NAME, name], {
    bestEffort: true,
  });
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
