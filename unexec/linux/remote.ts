/**
 * System calls made by a stopped thread on our behalf, a single step each: for the state that only the
 * thread itself can ask for. Registers are put back by `end()`; all signals are blocked meanwhile.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import type { X86Registers } from '../image.ts';
import { ptrace, waitpid } from './libc.ts';
import { getRegisters, getSignalMask, must, PTRACE, setRegisters, setSignalMask } from './ptrace.ts';
import { SIGNAL } from './stop.ts';

const WALL = 0x40000000;
const NO_SYSTEM_CALL = 0xffff_ffff_ffff_ffffn;

/** A stopped thread that is made to call. */
export class RemoteThread {
  readonly tid: number;
  /** Registers and mask as the thread stopped with them. */
  readonly registers: X86Registers;
  readonly signalMask: bigint;
  readonly #instruction: bigint;

  /** `instruction`: address of a `syscall` instruction in the process. */
  constructor(tid: number, instruction: bigint) {
    this.tid = tid;
    this.#instruction = instruction;
    this.registers = getRegisters(tid);
    this.signalMask = getSignalMask(tid);
    setSignalMask(tid, 0xffff_ffff_ffff_ffffn);
  }

  /** The result of the system call; negative: -errno. */
  call(nr: number, ...args: readonly (bigint | number)[]): bigint {
    const arg = (i: number): bigint => BigInt.asUintN(64, BigInt(args[i] ?? 0));
    setRegisters(this.tid, {
      ...this.registers,
      rax: BigInt(nr),
      rdi: arg(0),
      rsi: arg(1),
      rdx: arg(2),
      r10: arg(3),
      r8: arg(4),
      r9: arg(5),
      rip: this.#instruction,
      orig_rax: NO_SYSTEM_CALL,
    });
    this.#step();
    return BigInt.asIntN(64, getRegisters(this.tid).rax);
  }

  #step(): void {
    // A SIGSTOP sent from outside cannot be blocked, and an interrupt may still be on its way: dropped,
    // and the step taken again.
    for (let tries = 0; tries < 10; tries++) {
      must('stepped', this.tid, ptrace(PTRACE.SINGLESTEP, this.tid, 0, 0));
      const waited = waitpid(this.tid, WALL);
      if (waited === undefined || 'errno' in waited || (waited.status & 0xff) !== 0x7f) {
        throw new UnexecError('PROCESS_GONE', `thread ${this.tid} ended while it was being read`);
      }
      const called = getRegisters(this.tid).rip !== this.#instruction;
      if (waited.status >> 8 === SIGNAL.SIGTRAP && called) return;
    }
    throw new UnexecError('PTRACE_FAILED', `thread ${this.tid} does not step over a system call`);
  }

  /** Puts registers and signal mask back. */
  end(): void {
    setRegisters(this.tid, this.registers);
    setSignalMask(this.tid, this.signalMask);
  }
}
