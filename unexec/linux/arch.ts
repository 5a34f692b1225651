/**
 * What of tracing depends on the machine, chosen once: a file in arch/ for each.
 *
 * @module
 */
import type { Reason } from '../errors.ts';
import type { MachineState } from '../image.ts';
import { AARCH64 } from './arch/aarch64.ts';
import type { RegisterFile } from './arch/register-file.ts';
import { X86_64 } from './arch/x86_64.ts';
import type { ProcessMemory } from './memory.ts';
import type { Stop } from './stop.ts';
import { ARCH } from './this-machine.ts';

/** A line of /proc/PID/task/TID/syscall (proc(5)). */
export interface WaitingCall {
  readonly nr: number;
  readonly args: readonly bigint[];
  /** Behind the instruction that makes it. */
  readonly programCounter: bigint;
}

export interface Architecture {
  /** The instruction that makes a system call, and what its address is a multiple of. */
  readonly systemCall: { readonly instruction: Uint8Array; readonly alignment: number };
  /** The breakpoint instruction, and how far behind its address the program counter stands when it was hit. */
  readonly breakpoint: { readonly instruction: Uint8Array; readonly passed: bigint };

  /** The general registers of a stopped thread. @throws UnexecError `PROCESS_GONE`, `THREAD_32_BIT` */
  getRegisters(tid: number): RegisterFile;
  setRegisters(tid: number, file: RegisterFile): void;

  programCounter(file: RegisterFile): bigint;
  stackPointer(file: RegisterFile): bigint;
  /** Of a function at whose entry the thread stands. */
  firstArgument(file: RegisterFile): bigint;
  /** Of a function that has returned, or a system call. */
  result(file: RegisterFile): bigint;
  /** The thread has another stack. */
  atStack(file: RegisterFile, stackPointer: bigint): RegisterFile;
  /** The thread goes on elsewhere. */
  atAddress(file: RegisterFile, address: bigint): RegisterFile;
  /** The thread is about to make a system call by an instruction that stands at an address. */
  atSystemCall(file: RegisterFile, instruction: bigint, nr: number, args: readonly bigint[]): RegisterFile;
  /** The thread is about to run a function without arguments. `stackAfter`: its stack pointer on return. */
  atFunction(
    file: RegisterFile,
    memory: ProcessMemory,
    call: { readonly address: bigint; readonly returnTo: bigint },
  ): { readonly file: RegisterFile; readonly stackAfter: bigint };

  /**
   * Brings a thread that stands at the entry or the exit of a system call to where its registers can be read and
   * written as those of the program: a call that it was about to make, it will make when it goes on.
   *
   * @returns whether it stands elsewhere now
   */
  leaveSystemCall(tid: number, stop: Stop): boolean;

  /**
   * The call that a running thread waits in, where its registers will not tell that any more once it is
   * interrupted.
   */
  callOf(pid: number, tid: number): WaitingCall | undefined;
  /** Lets a call that failed because its thread was interrupted be made again when that goes on. */
  undoInterruption(
    tid: number,
    waitedIn: WaitingCall | undefined,
    code: (address: bigint, length: number) => Uint8Array,
  ): void;

  /** Where the thread's local storage is found: the FS base, TPIDR_EL0. */
  threadPointer(tid: number, file: RegisterFile): bigint;
  /** From the thread pointer to the `tid` in musl's struct pthread; glibc has the kernel clear its own. */
  readonly muslTid: bigint;
  /** All that the CPU holds of a stopped thread. To be asked before the thread is made to call. */
  machineState(tid: number, file: RegisterFile): MachineState;
  /** Undoes what calls that a thread was made to make have left behind, beside the general registers. */
  afterCalls(tid: number, state: MachineState): void;
  /** The state with which a thread goes on in another process: a call that was interrupted is made again. */
  goingOn(state: MachineState, memory: Pick<ProcessMemory, 'bytes'>): MachineState;
  /** What of a thread's state no new thread can have. */
  refuseThread(tid: number, state: MachineState): readonly Reason[];
}

/** Of the machine that we run on. */
export const ARCHITECTURE: Architecture = ARCH === 'aarch64' ? AARCH64 : X86_64;
