/**
 * Software breakpoints in a traced process: an instruction that traps in place of another.
 *
 * @module
 */
import { ARCHITECTURE } from './arch.ts';
import { ptrace, waitpid } from './libc.ts';
import type { ProcessMemory } from './memory.ts';
import { getSignalMask, must, PTRACE, setSignalMask } from './ptrace.ts';

const { instruction: TRAP, passed: PASSED } = ARCHITECTURE.breakpoint;
const WALL = 0x40000000;
/** All but SIGTRAP, which ends a step: where it is blocked the kernel forces it, and takes the program's handler away. */
const OTHER_SIGNALS = 0xffff_ffff_ffff_ffefn;

export class Breakpoints {
  readonly #memory: ProcessMemory;
  readonly #saved = new Map<bigint, Uint8Array>();
  /** Where one was: another thread may have run into it before it was removed. */
  readonly #removed = new Set<bigint>();

  constructor(memory: ProcessMemory) {
    this.#memory = memory;
  }

  insert(address: bigint): void {
    if (this.#saved.has(address)) return;
    this.#saved.set(address, this.#memory.bytes(address, TRAP.length));
    this.#memory.write(address, TRAP);
  }

  remove(address: bigint): void {
    const saved = this.#saved.get(address);
    if (saved === undefined) return;
    this.#memory.write(address, saved);
    this.#saved.delete(address);
    this.#removed.add(address);
  }

  removeAll(): void {
    for (const address of [...this.#saved.keys()]) this.remove(address);
  }

  /** Takes the breakpoints out of a forked child, which may share its memory with us (vfork). */
  removeFrom(child: ProcessMemory): void {
    for (const [address, saved] of this.#saved) child.write(address, saved);
  }

  /** Puts back what a child that shared our memory went without. */
  insertAgain(): void {
    for (const address of this.#saved.keys()) this.#memory.write(address, TRAP);
  }

  /**
   * The breakpoint that a thread with SIGTRAP stands at; its program counter is put back onto it.
   * `gone`: it was removed meanwhile, and the thread can just go on.
   */
  hit(tid: number): { readonly address: bigint; readonly gone: boolean } | undefined {
    const registers = ARCHITECTURE.getRegisters(tid);
    const address = ARCHITECTURE.programCounter(registers) - PASSED;
    const gone = !this.#saved.has(address);
    if (gone && !this.#removed.has(address)) return undefined;
    ARCHITECTURE.setRegisters(tid, ARCHITECTURE.atAddress(registers, address));
    return { address, gone };
  }

  /** Steps a thread over the breakpoint that it stands at, which stays. Other signals wait meanwhile. */
  stepOver(tid: number, address: bigint): void {
    const mask = getSignalMask(tid);
    setSignalMask(tid, OTHER_SIGNALS);
    this.remove(address);
    must('stepped', tid, ptrace(PTRACE.SINGLESTEP, tid, 0, 0));
    waitpid(tid, WALL);
    this.insert(address);
    setSignalMask(tid, mask);
  }
}
