/**
 * Memory that is not a live process: stretches, each of which knows how to give its bytes. What lies in none
 * of them is zero, as are pages of a hole.
 *
 * @module
 */
import type { MemoryReader, MemoryRegion, PageRange } from '../image.ts';
import { PAGE } from '../image.ts';

export interface MemoryStretch extends MemoryRegion {
  /** Bytes from the start that may be other than zero. */
  readonly stored: number;
  /** Gives the bytes from `offset` on, which end within `stored`. */
  fill(offset: number, into: Uint8Array): void;
}

/** A reader of stretches, which are by address and do not overlap. */
export class StretchMemory implements MemoryReader {
  readonly #stretches: readonly MemoryStretch[];

  constructor(stretches: readonly MemoryStretch[]) {
    this.#stretches = stretches;
  }

  read(address: bigint, into: Uint8Array): void {
    into.fill(0);
    const end = address + BigInt(into.length);
    for (let i = this.#firstEndingAfter(address); i < this.#stretches.length; i++) {
      const stretch = this.#stretches[i];
      if (stretch === undefined || stretch.start >= end) return;
      const from = address > stretch.start ? Number(address - stretch.start) : 0;
      const to = Math.min(stretch.stored, Number(end - stretch.start));
      if (to <= from) continue;
      const at = Number(stretch.start - address) + from;
      stretch.fill(from, into.subarray(at, at + to - from));
    }
  }

  *touched({ start, size }: MemoryRegion): Iterable<PageRange> {
    const end = start + BigInt(size);
    for (let i = this.#firstEndingAfter(start); i < this.#stretches.length; i++) {
      const stretch = this.#stretches[i];
      if (stretch === undefined || stretch.start >= end) return;
      if (stretch.stored === 0) continue;
      const from = stretch.start > start ? Number(stretch.start - start) : 0;
      const to = Math.min(size, Number(stretch.start - start) + stretch.stored);
      const first = Math.floor(from / PAGE);
      if (to > from) yield { first, count: Math.ceil(to / PAGE) - first };
    }
  }

  #firstEndingAfter(address: bigint): number {
    let low = 0;
    let high = this.#stretches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const stretch = this.#stretches[middle];
      if (stretch !== undefined && stretch.start + BigInt(stretch.size) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
