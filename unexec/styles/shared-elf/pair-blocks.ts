/**
 * The blocks of a library in two runs: both are followed at once, from the library's variables on. A word that
 * leads to the same place of a block of the same size in both pairs the two, wherever the allocator put them, so
 * nothing depends on the two heaps looking alike.
 *
 * Depth first, from the variables in the order of their addresses and through each block in the order of its
 * words: blocks are kept in the order in which they were reached, which puts beside each other what is used
 * one after the other. A list is followed link by link, and what hangs on its elements comes behind it.
 *
 * @module
 */
import { BLOCK_STATE, type BlockState, type Blocks } from '../../blocks.ts';
import type { RunMemory } from './run-memory.ts';

/** Memory of the library in both runs: addresses, which are multiples of 8, and bytes. */
export interface Extent {
  readonly a: number;
  readonly b: number;
  readonly size: number;
}

export interface RunBlocks {
  readonly memory: RunMemory;
  readonly blocks: Blocks;
}

const WORD = 8;
const HIGH = 2 ** 32;

/** Blocks that were paired, by their indexes; number `i` is at `i` of both, in the order in which they were reached. */
export class BlockPairs {
  readonly #a: RunBlocks;
  readonly #b: RunBlocks;
  readonly indexesA: number[] = [];
  readonly indexesB: number[] = [];
  /** The address, in the first run, of the word that led to it. */
  readonly foundAt: number[] = [];
  /** By index of a block in the first run: its number here; -1: not paired. */
  readonly numberOf: Int32Array;
  readonly #taken: Uint8Array;

  constructor(a: RunBlocks, b: RunBlocks) {
    this.#a = a;
    this.#b = b;
    this.numberOf = new Int32Array(a.blocks.count).fill(-1);
    this.#taken = new Uint8Array(b.blocks.count);
  }

  get count(): number {
    return this.indexesA.length;
  }

  /** The pair whose block has this byte of the first run, or ends there; -1: none has. */
  numberAt(address: number): number {
    const index = this.#a.blocks.find(address);
    return index < 0 ? -1 : (this.numberOf[index] ?? -1);
  }

  /** State of the block that has this byte of the first run; undefined where none has. */
  stateAt(address: number): BlockState | undefined {
    const index = this.#a.blocks.find(address);
    return index < 0 ? undefined : this.#a.blocks.at(index).state;
  }

  /** Memory of pair `number`. */
  extent(number: number): Extent {
    const a = this.indexesA[number] ?? -1;
    const b = this.indexesB[number] ?? -1;
    return {
      a: this.#a.blocks.starts[a] ?? 0,
      b: this.#b.blocks.starts[b] ?? 0,
      size: this.#a.blocks.sizes[a] ?? 0,
    };
  }

  /** Pairs what is reachable from the aligned words of this memory. */
  follow(root: Extent): void {
    const path = [{ ...root, at: 0 }];
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const number = this.#next(here);
      if (number < 0) path.pop();
      else path.push({ ...this.extent(number), at: 0 });
    }
  }

  /**
   * Pairs what two values of one word lead to, and all that is reachable from there. Whether it was new.
   *
   * @param at address of the word in the first run
   */
  followPointer(at: number, valueA: number, valueB: number): boolean {
    const number = this.#pair(at, valueA, valueB);
    if (number < 0) return false;
    this.follow(this.extent(number));
    return true;
  }

  /** The number of the next block that a word of this memory leads to and that is new; -1 where there is none. */
  #next(here: { readonly a: number; readonly b: number; readonly size: number; at: number }): number {
    const a = this.#a.memory;
    const b = this.#b.memory;
    for (; here.at + WORD <= here.size; here.at += WORD) {
      a.load(here.a + here.at);
      b.load(here.b + here.at);
      if (a.low === b.low && a.high === b.high) continue;
      // Tags in the upper 16 bits are the same in both runs.
      if (a.high >>> 16 !== b.high >>> 16) continue;
      const number = this.#pair(
        here.a + here.at,
        (a.high & 0xffff) * HIGH + (a.low >>> 0),
        (b.high & 0xffff) * HIGH + (b.low >>> 0),
      );
      if (number < 0) continue;
      here.at += WORD;
      return number;
    }
    return -1;
  }

  #pair(at: number, addressA: number, addressB: number): number {
    const a = this.#a.blocks;
    const b = this.#b.blocks;
    const indexA = a.find(addressA);
    if (indexA < 0 || this.numberOf[indexA] !== -1 || a.states[indexA] !== BLOCK_STATE.used) return -1;
    const indexB = b.find(addressB);
    if (indexB < 0 || this.#taken[indexB] !== 0 || b.states[indexB] !== BLOCK_STATE.used) return -1;
    if (a.sizes[indexA] !== b.sizes[indexB]) return -1;
    if (addressA - (a.starts[indexA] ?? 0) !== addressB - (b.starts[indexB] ?? 0)) return -1;
    const number = this.indexesA.push(indexA) - 1;
    this.indexesB.push(indexB);
    this.foundAt.push(at);
    this.numberOf[indexA] = number;
    this.#taken[indexB] = 1;
    return number;
  }
}
