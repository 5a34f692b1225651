/**
 * System calls made by a stopped thread on our behalf: for the state that only the thread itself can ask
 * for. Registers are put back by `end()`; all signals are blocked meanwhile.
 *
 * Each runs from its entry stop to its exit stop. A single step would end in a SIGTRAP, and where that is
 * blocked the kernel forces it: the program's own handler would be lost (force_sig_info_to_task() of
 * kernel/signal.c). Facts: ptrace(2), "Syscall-stops".
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import type { MachineState } from '../machine-state.ts';
import type { RegisterFile } from './arch/register-file.ts';
import { ARCHITECTURE } from './arch.ts';
import { ptrace, waitpid } from './libc.ts';
import { getSignalMask, must, PTRACE, setSignalMask } from './ptrace.ts';
import { decodeStop, SIGNAL, type Stop } from './stop.ts';
import { numberOf, type SystemCall } from './system-calls.ts';
import { ARCH } from './this-machine.ts';
import type { WayBack } from './way-back.ts';

const WALL = 0x40000000;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;

/** A stopped thread that is made to call. */
export class RemoteThread {
  readonly tid: number;
  /** Registers and mask as the thread stopped with them. */
  readonly registers: RegisterFile;
  readonly machine: MachineState;
  readonly signalMask: bigint;
  readonly #instruction: bigint;
  readonly #wayBack: WayBack | undefined;
  /** Since its first call: takes the frame away that it would come back by. */
  #remove: (() => void) | undefined;
  #stack: bigint | undefined;
  /** A SIGSTOP from outside came meanwhile, and was held back. */
  wasStopped = false;

  /**
   * @param instruction address in the process of one that makes a system call
   * @param wayBack for a process that is to survive us; for one thread at a time
   */
  constructor(tid: number, instruction: bigint, wayBack?: WayBack) {
    this.tid = tid;
    this.#instruction = wayBack?.instruction ?? instruction;
    this.#wayBack = wayBack;
    this.registers = ARCHITECTURE.getRegisters(tid);
    this.machine = ARCHITECTURE.machineState(tid, this.registers);
    this.signalMask = getSignalMask(tid);
  }

  /** The result of the system call; negative: -errno. */
  call(name: SystemCall, ...args: readonly (bigint | number)[]): bigint {
    const values = args.map(arg => BigInt.asUintN(64, BigInt(arg)));
    const nr = numberOf(name, ARCH);
    const file = ARCHITECTURE.atSystemCall(this.registers, this.#instruction, nr, values);
    const registers = this.#begin(file);
    let entered = false;
    // A SIGSTOP sent from outside cannot be blocked, and an interrupt may still be on its way: dropped,
    // and the call begun again.
    for (let tries = 0; tries < 10; tries++) {
      if (!entered) ARCHITECTURE.setRegisters(this.tid, registers);
      const stop = this.#toNextStop(PTRACE.SYSCALL);
      if (entered && stop.type === 'syscall-exit') return stop.result;
      entered ||= stop.type === 'syscall-entry';
    }
    throw new UnexecError('PTRACE_FAILED', `thread ${this.tid} does not make system call ${name}`);
  }

  /** In this order: with its signals blocked the thread is never without its way back, which unblocks them. */
  #begin(file: RegisterFile): RegisterFile {
    if (this.#remove === undefined) {
      const frame = this.#wayBack?.lay(this.machine, this.signalMask);
      this.#remove = frame?.remove ?? (() => {});
      this.#stack = frame?.stack;
      ARCHITECTURE.setRegisters(this.tid, this.#onStack(file));
      setSignalMask(this.tid, ALL_SIGNALS);
    }
    return this.#onStack(file);
  }

  #onStack(file: RegisterFile): RegisterFile {
    return this.#stack === undefined ? file : ARCHITECTURE.atStack(file, this.#stack);
  }

  #toNextStop(how: number): Stop {
    must('resumed', this.tid, ptrace(how, this.tid, 0, 0));
    const waited = waitpid(this.tid, WALL);
    if (waited === undefined || 'errno' in waited || (waited.status & 0xff) !== 0x7f) {
      throw new UnexecError('PROCESS_GONE', `thread ${this.tid} ended while it was being read`);
    }
    const stop = decodeStop(this.tid, waited.status);
    this.wasStopped ||= stop.type === 'signal' && stop.signal === SIGNAL.SIGSTOP;
    return stop;
  }

  /** Puts registers and signal mask back; it may call again. */
  end(): void {
    const remove = this.#remove;
    if (remove === undefined) return;
    this.#remove = undefined;
    this.#toInterruption();
    setSignalMask(this.tid, this.signalMask);
    ARCHITECTURE.setRegisters(this.tid, this.registers);
    ARCHITECTURE.afterCalls(this.tid, this.machine);
    remove();
  }

  /**
   * A call of its own that was interrupted is only made again where the kernel looks for signals
   * (arch_do_signal_or_restart), which is not the way out of a call that has succeeded. Here it looks.
   */
  #toInterruption(): void {
    must('interrupted', this.tid, ptrace(PTRACE.INTERRUPT, this.tid, 0, 0));
    for (let tries = 0; tries < 10; tries++) {
      const { type } = this.#toNextStop(PTRACE.CONT);
      if (type === 'interrupted' || type === 'group-stop') return;
    }
    throw new UnexecError('PTRACE_FAILED', `thread ${this.tid} is not interrupted`);
  }
}
