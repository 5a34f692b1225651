/**
 * Software breakpoints in a traced process: an `int3` in place of the first byte of an instruction.
 *
 * @module
 */

import { ptrace, waitpid } from './libc.ts';
import type { ProcessMemory } from './memory.ts';
import { getRegisters, must, PTRACE, setRegisters } from './ptrace.ts';

const INT3 = Uint8Array.of(0xcc);
const WALL = 0x40000000;

export class Breakpoints {
  readonly #memory: ProcessMemory;
  readonly #saved = new Map<bigint, Uint8Array>();

  constructor(memory: ProcessMemory) {
    this.#memory = memory;
  }

  insert(address: bigint): void {
    if (this.#saved.has(address)) return;
    this.#saved.set(address, this.#memory.bytes(address, 1));
    this.#memory.write(address, INT3);
  }

  remove(address: bigint): void {
    const saved = this.#saved.get(address);
    if (saved === undefined) return;
    this.#memory.write(address, saved);
    this.#saved.delete(address);
  }

  removeAll(): void {
    for (const address of [...this.#saved.keys()]) this.remove(address);
  }

  /** Takes the breakpoints out of a copy of the process (a forked child). */
  removeFrom(copy: ProcessMemory): void {
    for (const [address, saved] of this.#saved) copy.write(address, saved);
  }

  /** The breakpoint that a thread with SIGTRAP stands at; its program counter is put back onto it. */
  hit(tid: number): bigint | undefined {
    const registers = getRegisters(tid);
    const address = registers.rip - 1n;
    if (!this.#saved.has(address)) return undefined;
    setRegisters(tid, { ...registers, rip: address });
    return address;
  }

  /** Steps a thread over the breakpoint that it stands at, which stays. */
  stepOver(tid: number, address: bigint): void {
    this.remove(address);
    must('stepped', tid, ptrace(PTRACE.SINGLESTEP, tid, 0, 0));
    waitpid(tid, WALL);
    this.insert(address);
  }
}
