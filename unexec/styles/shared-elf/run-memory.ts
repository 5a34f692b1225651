/**
 * The memory of one run, read once: the blocks of a library are looked at word by word, in the order in which
 * pointers lead to them, and again when they are compared and written. Kept in windows of 1 MiB, so it costs as
 * much memory as what is kept of the library.
 *
 * @module
 */
import type { MemoryReader, MemoryRegion, PageRange } from '../../image.ts';

const WINDOW = 1 << 20;

interface Window {
  readonly bytes: Uint8Array;
  readonly halves: Int32Array;
}

export class RunMemory implements MemoryReader {
  readonly #memory: MemoryReader;
  readonly #windows = new Map<number, Window>();
  #last: Window | undefined;
  #lastNumber = -1;
  readonly #word = new Uint8Array(8);
  readonly #wordView = new DataView(this.#word.buffer);
  /** The word that was read last, as two halves. */
  low = 0;
  high = 0;

  constructor(memory: MemoryReader) {
    this.#memory = memory;
  }

  /** Reads the 64-bit word at a multiple of 8 into `low` and `high`. */
  load(address: number): void {
    const { halves } = this.#window(Math.floor(address / WINDOW));
    const at = (address % WINDOW) / 4;
    this.low = halves[at] ?? 0;
    this.high = halves[at + 1] ?? 0;
  }

  /** The 64-bit word at any address. */
  word(address: bigint): bigint {
    this.read(address, this.#word);
    return this.#wordView.getBigUint64(0, true);
  }

  read(address: bigint, into: Uint8Array): void {
    let at = Number(address);
    for (let done = 0; done < into.length; ) {
      const { bytes } = this.#window(Math.floor(at / WINDOW));
      const from = at % WINDOW;
      const count = Math.min(into.length - done, WINDOW - from);
      into.set(bytes.subarray(from, from + count), done);
      done += count;
      at += count;
    }
  }

  touched(region: MemoryRegion): Iterable<PageRange> {
    return this.#memory.touched(region);
  }

  #window(number: number): Window {
    if (number === this.#lastNumber && this.#last !== undefined) return this.#last;
    let window = this.#windows.get(number);
    if (window === undefined) {
      const bytes = new Uint8Array(WINDOW);
      this.#memory.read(BigInt(number) * BigInt(WINDOW), bytes);
      window = { bytes, halves: new Int32Array(bytes.buffer) };
      this.#windows.set(number, window);
    }
    this.#last = window;
    this.#lastNumber = number;
    return window;
  }
}
