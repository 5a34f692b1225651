/**
 * The machine state of a core's threads. The kernel and gdb have all of it; qemu-user writes general registers alone,
 * as its translator had them: a thread that waits in a system call stands behind it there, with its arguments still
 * in place. Facts: asm/ptrace.h, `linux-user/x86_64/target_elf.h` and `linux-user/aarch64/target_elf.h` of qemu 7.2.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { type ElfCoreThread, NT, threadNote } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import type { Reason } from '../errors.ts';
import {
  ARM_REGISTER_NAMES,
  type Assumption,
  type MachineState,
  X86_REGISTER_NAMES,
  type X86Registers,
} from '../image.ts';
import { X86_64 } from '../linux/arch/x86_64.ts';
import { abortSequence } from '../linux/thread-state.ts';
import type { GlibcThread, GlibcThreads } from './glibc-threads.ts';
import type { CoreReader, OpenElfCore } from './open-core.ts';

export interface CoreMachine {
  readonly machine: MachineState;
  readonly glibc: GlibcThread | undefined;
  readonly refusals: readonly Reason[];
  readonly assumptions: readonly Assumption[];
}

/** The thread whose core it is was stopped by qemu itself; the others ran on. */
export function coreMachine(
  open: OpenElfCore,
  thread: ElfCoreThread,
  isFirst: boolean,
  memory: CoreReader,
  glibcThreads: GlibcThreads | undefined,
): CoreMachine {
  return open.arch === 'x86_64'
    ? x86Machine(open, thread, isFirst, memory, glibcThreads)
    : armMachine(open, thread, isFirst, memory, glibcThreads);
}

const namesTo = <T extends string>(names: readonly T[], values: readonly bigint[]): Record<T, bigint> =>
  Object.fromEntries(names.map((name, i) => [name, values[i] ?? 0n])) as Record<T, bigint>;

function x86Machine(
  open: OpenElfCore,
  thread: ElfCoreThread,
  isFirst: boolean,
  memory: CoreReader,
  glibcThreads: GlibcThreads | undefined,
): CoreMachine {
  const given = namesTo(X86_REGISTER_NAMES, thread.registers);
  const emulated = open.writer === 'qemu-user';
  // qemu writes the selector where the base belongs.
  const glibc = glibcThreads?.of(thread.tid, emulated ? undefined : given.fs_base);
  const registers = emulated ? { ...given, fs_base: glibc?.threadPointer ?? 0n, gs_base: 0n } : given;
  const refusals: Reason[] = [];
  if (emulated && glibc === undefined) refusals.push(noThreadPointer(thread.tid, 'the FS base'));
  const waiting = emulated ? x86Waiting(registers, isFirst, memory) : undefined;
  if (emulated && !isFirst && waiting === undefined) refusals.push(wasRunning(thread.tid));
  const { xstate, assumptions } = xstateOf(thread);
  const stands = { arch: 'x86_64', registers, xstate } as const;
  const goesOn = emulated
    ? { ...stands, registers: { ...(waiting ?? registers), orig_rax: NO_SYSTEM_CALL } }
    : X86_64.goingOn(stands, memory);
  return {
    machine: abortSequence(goesOn, glibc?.rseq, memory),
    glibc,
    refusals: [...refusals, ...X86_64.refuseThread(thread.tid, stands)],
    assumptions,
  };
}

const NO_SYSTEM_CALL = 0xffff_ffff_ffff_ffffn;

const noThreadPointer = (tid: number, register: string): Reason => ({
  code: 'CORE_WITHOUT_THREAD_POINTER',
  what: `${register} of thread ${tid} is not in the core, and no structure of glibc tells it`,
  remedy:
    'link the program dynamically, or leave a static one its symbols; or freeze it in an emulated machine',
});

const wasRunning = (tid: number): Reason => ({
  code: 'CORE_THREAD_RUNNING',
  what: `thread ${tid} was not waiting in a system call, and qemu-user has not kept its registers`,
  remedy: 'take the core when only one thread runs',
});

/**
 * Calls in which a thread waits, by their x86-64 numbers: read, poll, select, nanosleep, accept, recvfrom, recvmsg,
 * wait4, futex, epoll_wait, clock_nanosleep, pselect6, ppoll, epoll_pwait, pause, rt_sigtimedwait, rt_sigsuspend.
 */
const X86_WAITS: ReadonlySet<bigint> = new Set([
  0n,
  7n,
  23n,
  35n,
  43n,
  45n,
  47n,
  61n,
  202n,
  232n,
  230n,
  270n,
  271n,
  281n,
  34n,
  128n,
  130n,
]);
const SYSCALL = Buffer.of(0x0f, 0x05);
/** Bytes before a `syscall` instruction in which its number is loaded: `mov eax, imm32`, or `xor eax, eax` for 0. */
const LOOK_BACK = 48;
const MOV_EAX = 0xb8;
const XOR_EAX_EAX = Buffer.of(0x31, 0xc0);

/**
 * Back at the call that it waits in, whose number is where its result would be; or, where a signal has ended it for the
 * thread that wrote the core, EINTR. The number is believed where it was loaded right before.
 */
function x86Waiting(registers: X86Registers, isFirst: boolean, memory: CoreReader): X86Registers | undefined {
  const { rax, rip } = registers;
  const code = Buffer.from(
    memory.bytes(rip - BigInt(LOOK_BACK + SYSCALL.length), LOOK_BACK + SYSCALL.length),
  );
  if (!code.subarray(LOOK_BACK).equals(SYSCALL)) return undefined;
  const loaded = [...X86_WAITS].find(nr => isLoaded(code, nr));
  if (loaded === undefined || (rax !== loaded && !(isFirst && rax === EINTR))) return undefined;
  return { ...registers, rax: loaded, rip: rip - BigInt(SYSCALL.length) };
}

const EINTR = 0xffff_ffff_ffff_fffcn;

function isLoaded(code: Buffer, nr: bigint): boolean {
  if (nr === 0n) return code.subarray(LOOK_BACK - XOR_EAX_EAX.length, LOOK_BACK).equals(XOR_EAX_EAX);
  return code.includes(Buffer.of(MOV_EAX, Number(nr & 0xffn), Number(nr >> 8n), 0, 0));
}

/** Sizes of the standard format: x87 and SSE, the header, AVX. The rest is where the CPU's maker put it. */
const LEGACY_SIZE = 512;
const AVX_SIZE = 832;
const XCR0_AT = 464;
const XSTATE_BV_AT = 512;
const AVX = 7n;

/** What follows AVX, in the layouts of Intel and of AMD: MPX, AVX-512 (three parts), PKRU, AMX (two); offset and size. */
const LAYOUTS: Readonly<Record<'intel' | 'amd', ReadonlyMap<number, readonly [number, number]>>> = {
  intel: new Map([
    [3, [960, 64]],
    [4, [1024, 64]],
    [5, [1088, 64]],
    [6, [1152, 512]],
    [7, [1664, 1024]],
    [9, [2688, 8]],
    [17, [2752, 64]],
    [18, [2816, 8192]],
  ]),
  amd: new Map([
    [5, [832, 64]],
    [6, [896, 512]],
    [7, [1408, 1024]],
    [9, [2432, 8]],
  ]),
};

/** Bytes of an area with these components. */
function areaSize(xcr0: bigint, layout: ReadonlyMap<number, readonly [number, number]>): number {
  let size = AVX_SIZE;
  for (const [component, [offset, length]] of layout) {
    if (((xcr0 >> BigInt(component)) & 1n) !== 0n) size = Math.max(size, offset + length);
  }
  return size;
}

/**
 * The XSAVE area. One that is laid out for another CPU than ours (gdb 13 knows Intel's layout only) is cut after AVX, up
 * to where all are the same.
 */
function xstateOf(thread: ElfCoreThread): { xstate: Uint8Array; assumptions: Assumption[] } {
  const xstate = threadNote(thread, NT.NT_X86_XSTATE);
  if (xstate === undefined || xstate.length < AVX_SIZE) {
    const fxsave = xstate?.subarray(0, LEGACY_SIZE) ?? threadNote(thread, NT.NT_PRFPREG);
    if (fxsave !== undefined && fxsave.length === LEGACY_SIZE) {
      return { xstate: fxsave, assumptions: [{ what: 'AVX registers', assumed: 'zero' }] };
    }
    const what = 'floating-point and vector registers (a call need not keep them)';
    return { xstate: freshFxsave(), assumptions: [{ what, assumed: 'as in a new process' }] };
  }
  const xcr0 = viewOf(xstate).getBigUint64(XCR0_AT, true);
  if (xstate.length === areaSize(xcr0, LAYOUTS[ownLayout()])) return { xstate, assumptions: [] };
  const inUse = (viewOf(xstate).getBigUint64(XSTATE_BV_AT, true) & ~AVX) !== 0n;
  const cut = xstate.slice(0, AVX_SIZE);
  const view = viewOf(cut);
  view.setBigUint64(XCR0_AT, xcr0 & AVX, true);
  view.setBigUint64(XSTATE_BV_AT, view.getBigUint64(XSTATE_BV_AT, true) & AVX, true);
  const what = `registers beyond AVX (an area of ${xstate.length} bytes is laid out for another CPU)`;
  return { xstate: cut, assumptions: inUse ? [{ what, assumed: 'zero' }] : [] };
}

const ownLayout = (): 'intel' | 'amd' =>
  /^vendor_id\s*:\s*(AuthenticAMD|HygonGenuine)/m.test(cpuinfo()) ? 'amd' : 'intel';

function cpuinfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'latin1');
  } catch {
    return ''; // not Linux
  }
}

/** FXSAVE as the kernel gives it to a new process: FCW and MXCSR with all exceptions masked. */
function freshFxsave(): Uint8Array {
  const area = new Uint8Array(LEGACY_SIZE);
  const view = viewOf(area);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, 0x1f80, true);
  return area;
}

const FPSIMD_SIZE = 528;

function armMachine(
  open: OpenElfCore,
  thread: ElfCoreThread,
  isFirst: boolean,
  memory: CoreReader,
  glibcThreads: GlibcThreads | undefined,
): CoreMachine {
  const registers = namesTo(ARM_REGISTER_NAMES, thread.registers);
  const tls = threadNote(thread, NT.NT_ARM_TLS);
  const known = tls === undefined || tls.length < 8 ? undefined : viewOf(tls).getBigUint64(0, true);
  const glibc = glibcThreads?.of(thread.tid, known);
  const threadPointer = known ?? glibc?.threadPointer;
  const refusals: Reason[] = [];
  if (threadPointer === undefined) refusals.push(noThreadPointer(thread.tid, 'TPIDR_EL0'));
  const fpsimd = threadNote(thread, NT.NT_PRFPREG);
  const emulated = open.writer === 'qemu-user';
  const waiting = emulated && !isFirst ? armWaiting(registers, memory) : undefined;
  if (emulated && !isFirst && waiting === undefined) refusals.push(wasRunning(thread.tid));
  const lost = 'floating-point and vector registers (a call keeps d8 to d15)';
  const assumptions: Assumption[] = fpsimd?.length === FPSIMD_SIZE ? [] : [{ what: lost, assumed: 'zero' }];
  if (emulated && isFirst && registers.x0 === EINTR && memory.word32(registers.pc - 4n) === SVC_0) {
    assumptions.push({
      what: `the first argument of the system call that thread ${thread.tid} was in`,
      assumed: 'it returns EINTR',
    });
  }
  return {
    machine: {
      arch: 'aarch64',
      // The kernel has put a thread back before the call that its signal interrupted.
      registers: waiting ?? registers,
      threadPointer: threadPointer ?? 0n,
      fpsimd: fpsimd?.length === FPSIMD_SIZE ? fpsimd : new Uint8Array(FPSIMD_SIZE),
      sve: threadNote(thread, NT.NT_ARM_SVE),
    },
    glibc,
    refusals,
    assumptions,
  };
}

/** Generic numbers: futex, nanosleep, ppoll, pselect6, epoll_pwait, clock_nanosleep, read, rt_sigsuspend, rt_sigtimedwait, wait4. */
const ARM_WAITS: ReadonlySet<bigint> = new Set([98n, 101n, 73n, 72n, 22n, 115n, 63n, 133n, 137n, 260n]);
const SVC_0 = 0xd400_0001;

/** The least negative number that is no error of a system call: -MAX_ERRNO - 1. */
const MOST_ERRNO = -4096n;

/**
 * x0 is the first argument while it waits. A result is an error where no argument is one; another result cannot be
 * told from a small argument, and the call is then made once more.
 */
function armWaiting(
  registers: Record<(typeof ARM_REGISTER_NAMES)[number], bigint>,
  memory: CoreReader,
): Record<(typeof ARM_REGISTER_NAMES)[number], bigint> | undefined {
  const x0 = BigInt.asIntN(64, registers.x0);
  const isError = x0 < 0n && x0 > MOST_ERRNO;
  const stands = memory.word32(registers.pc - 4n) === SVC_0 && ARM_WAITS.has(registers.x8) && !isError;
  return stands ? { ...registers, pc: registers.pc - 4n } : undefined;
}
