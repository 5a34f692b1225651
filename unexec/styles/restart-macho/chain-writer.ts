/**
 * Writes the words of chained fixups, page by page, and remembers where each chain begins. Facts: mach-o/fixup-chains.h.
 *
 * @module
 */
import { linkChain, writeChainedBind, writeChainedRebase } from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { firstAtLeast, type PointerWriter } from '../restart/dump-segment.ts';
import { mergeOffsets } from '../restart/merge-offsets.ts';
import type { SegmentFixups } from './fixup-plan.ts';

export interface ChainEncoding {
  /** 0x1000 or 0x4000. */
  readonly pageSize: number;
  /** What `target` counts from: the mach header's address, or 0. Of the file. */
  readonly targetBase: bigint;
}

/** @throws FormatError `MACHO_BAD_CHAIN` for a pointer that a chain cannot hold */
export class ChainWriter implements PointerWriter {
  /** Of each page, where its chain begins. */
  readonly pageStarts: Uint16Array;
  readonly #fixups: SegmentFixups;
  readonly #slide: bigint;
  readonly #chain: ChainEncoding;
  /** Everything that is chained. */
  readonly #all: Float64Array;

  /** `slide`: what is subtracted from a pointer in memory. */
  constructor(fixups: SegmentFixups, slide: bigint, chain: ChainEncoding) {
    this.#fixups = fixups;
    this.#slide = slide;
    this.#chain = chain;
    this.#all = allOffsets(fixups);
    this.pageStarts = new Uint16Array(chainedPages(this.#all, chain.pageSize));
  }

  /** Pointers of memory as rebases, and those that become binds. The slide leaves the top byte alone. */
  slide(at: number, chunk: Uint8Array): void {
    const view = viewOf(chunk);
    const end = at + chunk.length;
    const { dumped, added } = this.#fixups;
    const base = Number(this.#slide + this.#chain.targetBase);
    for (let i = firstAtLeast(dumped, at); i < dumped.length; i++) {
      const offset = dumped[i] ?? 0;
      if (offset >= end) break;
      const high = view.getUint32(offset - at + 4, true);
      const address = (high & 0xff_ffff) * 2 ** 32 + view.getUint32(offset - at, true);
      writeChainedRebase(view, offset - at, address - base, high >>> 24);
    }
    for (const { offset, like } of added) {
      if (offset < at || offset >= end) continue;
      writeChainedBind(view, offset - at, like.importOrdinal ?? 0, 0);
    }
  }

  /** Links the chains of the chunk's pages; the words of the old file are in place by now. */
  finish(at: number, chunk: Uint8Array): void {
    const { pageSize } = this.#chain;
    let from = firstAtLeast(this.#all, at);
    for (let offset = 0; offset < chunk.length && from < this.#all.length; offset += pageSize) {
      const to = firstAtLeast(this.#all, at + offset + pageSize);
      const page = chunk.subarray(offset, offset + pageSize);
      const index = (at + offset) / pageSize;
      if (index < this.pageStarts.length) {
        this.pageStarts[index] = linkChain(page, this.#all, from, to, at + offset);
      }
      from = to;
    }
  }
}

/** Everything of a segment that is chained, ascending. */
export const allOffsets = ({ dumped, kept, bound, added }: SegmentFixups): Float64Array =>
  mergeOffsets(
    dumped,
    kept,
    bound,
    added.map(({ offset }) => offset),
  );

/** Pages up to the last one with a fixup. */
export function chainedPages(offsets: Float64Array, pageSize: number): number {
  const last = offsets.at(-1);
  return last === undefined ? 0 : Math.floor(last / pageSize) + 1;
}
