/**
 * Answers CPUID in a traced process: the CPU that the program sees has no more features than are allowed. Where the
 * CPU can (Intel since 2012, AMD since 2024), the kernel has CPUID fault in a thread, and in those that it starts;
 * each time the instruction is executed once without that, by itself, and what it gave is masked.
 *
 * Facts: arch_prctl(2) (ARCH_CPUID); arch/x86/kernel/process.c of Linux 6.1 (a new thread inherits the flag, execve
 * takes it away); Intel SDM volume 2A (CPUID is 0F A2).
 *
 * @module
 */
import { FEATURES, type Feature, REGISTERS } from '../cpu-features.ts';
import { UnexecError } from '../errors.ts';
import { X86_REGISTER_NAMES, type X86Registers } from '../machine-state.ts';
import { fileOf, registersOf } from './arch/register-file.ts';
import { ARCHITECTURE } from './arch.ts';
import { findSyscallInstruction } from './borrow.ts';
import { ptrace, waitpid } from './libc.ts';
import { ProcessMemory } from './memory.ts';
import { parseSmaps, readProc } from './proc.ts';
import { getSignalMask, must, PTRACE, setSignalMask } from './ptrace.ts';
import { nameRegions } from './regions.ts';
import { RemoteThread } from './remote.ts';

const ARCH_CPUID = 0x1012;
const WALL = 0x40000000;
const CPUID_INSTRUCTION = [0x0f, 0xa2];
const LOWER_HALF = 0xffff_ffffn;
/** OSXSAVE is the kernel's side of XSAVE: leaf 1, ecx. */
const OSXSAVE: Feature = { name: 'osxsave', leaf: { leaf: 1, subleaf: 0 }, register: 'ecx', bit: 27 };

/** Makes a thread that is stopped fault at CPUID, or no longer. The result of the system call: -errno. */
export type SwitchFaulting = (thread: RemoteThread, faults: boolean) => bigint;

const byArchPrctl: SwitchFaulting = (thread, faults) => thread.call('arch_prctl', ARCH_CPUID, faults ? 0 : 1);

export class CpuidTrap {
  readonly #memory: ProcessMemory;
  /** Address of a `syscall` instruction. */
  readonly #instruction: bigint;
  readonly #allowed: ReadonlySet<string>;
  readonly #switch: SwitchFaulting;

  /**
   * Traps CPUID in a process whose only thread is stopped; undefined where the CPU or the kernel cannot.
   *
   * @param allowed names of features that the program may see
   */
  static set(
    pid: number,
    allowed: ReadonlySet<string>,
    switchFaulting: SwitchFaulting = byArchPrctl,
  ): CpuidTrap | undefined {
    const trap = new CpuidTrap(pid, allowed, switchFaulting);
    if (trap.#faults(pid, true) >= 0n) return trap;
    trap.close();
    return undefined;
  }

  private constructor(pid: number, allowed: ReadonlySet<string>, switchFaulting: SwitchFaulting) {
    this.#memory = new ProcessMemory(pid);
    const regions = nameRegions(parseSmaps(readProc(`/proc/${pid}/smaps`)), []);
    this.#instruction = findSyscallInstruction(regions, this.#memory);
    this.#allowed = allowed;
    this.#switch = switchFaulting;
  }

  close(): void {
    this.#memory.close();
  }

  /** Where a thread that got SIGSEGV stands at a CPUID, answers it. Otherwise the signal is the program's own. */
  answer(tid: number): boolean {
    const before = registersOfThread(tid);
    const code = this.#memory.bytes(before.rip, CPUID_INSTRUCTION.length);
    if (!CPUID_INSTRUCTION.every((byte, i) => byte === code[i])) return false;
    this.#faults(tid, false);
    this.#step(tid);
    const answer = masked(registersOfThread(tid), before, this.#allowed);
    ARCHITECTURE.setRegisters(tid, fileOf(answer, X86_REGISTER_NAMES));
    this.#faults(tid, true);
    return true;
  }

  /** The thread, or a child that has inherited it from one, sees the real CPU again. */
  release(tid: number): void {
    this.#faults(tid, false);
  }

  #faults(tid: number, faults: boolean): bigint {
    const thread = new RemoteThread(tid, this.#instruction);
    try {
      return this.#switch(thread, faults);
    } finally {
      thread.end();
    }
  }

  /** Executes one instruction; with all signals blocked, no handler of the program comes in between. */
  #step(tid: number): void {
    const mask = getSignalMask(tid);
    setSignalMask(tid, 0xffff_ffff_ffff_ffffn & ~(1n << 4n)); // SIGTRAP would be forced, see remote.ts
    must('stepped', tid, ptrace(PTRACE.SINGLESTEP, tid, 0, 0));
    const waited = waitpid(tid, WALL);
    if (waited === undefined || 'errno' in waited || (waited.status & 0xff) !== 0x7f) {
      throw new UnexecError('PROCESS_GONE', `thread ${tid} ended within a CPUID`);
    }
    setSignalMask(tid, mask);
  }
}

const registersOfThread = (tid: number): X86Registers =>
  registersOf(ARCHITECTURE.getRegisters(tid), X86_REGISTER_NAMES);

/** The result of CPUID without the features that are not allowed; `before` has the leaf that was asked for. */
export function masked(
  result: X86Registers,
  before: Pick<X86Registers, 'rax' | 'rcx'>,
  allowed: ReadonlySet<string>,
): X86Registers {
  const leaf = Number(before.rax & LOWER_HALF);
  const subleaf = Number(before.rcx & LOWER_HALF);
  const hidden = FEATURES.filter(({ name }) => !allowed.has(name));
  if (!allowed.has('xsave')) hidden.push(OSXSAVE);
  const mask = (register: Feature['register'], value: bigint): bigint =>
    hidden
      .filter(feature => feature.register === register && isOf(feature, leaf, subleaf))
      .reduce((bits, { bit }) => bits & ~(1n << BigInt(bit)), value);
  const [eax, ebx, ecx, edx] = REGISTERS;
  return {
    ...result,
    rax: mask(eax, result.rax),
    rbx: mask(ebx, result.rbx),
    rcx: mask(ecx, result.rcx),
    rdx: mask(edx, result.rdx),
  };
}

/** Leaf 1 and the extended one have no subleaves: whatever is in ecx. */
const isOf = (feature: Feature, leaf: number, subleaf: number): boolean =>
  feature.leaf.leaf === leaf && (feature.leaf.subleaf === subleaf || leaf === 1 || leaf === 0x8000_0001);
