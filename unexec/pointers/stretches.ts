/**
 * A range of memory in chunks, on the grid of 8-byte words. Pages that were never touched are left out,
 * what is to be skipped reads as zero, and each chunk comes with the words before and after it, so that
 * what lies across its ends is seen whole.
 *
 * @module
 */
import { endOf, type MemoryImage, PAGE } from '../image.ts';
import type { Skipped } from './ranges.ts';

/** Bytes that are looked at at once. */
export const CHUNK = 1 << 20;
/** Bytes before and after a chunk that are in its buffer too. */
export const MARGIN = 8;
const WORD = 8;

/** A range in one of the images. */
export interface SearchedRange {
  readonly start: bigint;
  readonly size: number;
  readonly skip: readonly Skipped[];
}

/**
 * The stretches of a range that may hold something other than zero: ascending, disjoint, of whole words. Of what is
 * to be skipped, long parts are left out: a core has all of a large reserve, though next to nothing is in it.
 */
export function touchedStretches(
  places: readonly { readonly image: Pick<MemoryImage, 'regions' | 'memory'>; readonly start: bigint }[],
  size: number,
  skip: readonly Skipped[] = [],
): Skipped[] {
  const found = places.flatMap(({ image, start }) => touchedIn(image, start, size));
  // The grid is that of addresses, so the range's first byte may be anywhere in its first word.
  const lead = leadOf(places[0]?.start ?? 0n);
  const joined: { start: number; end: number }[] = [];
  for (const { start, end } of found.sort((a, b) => a.start - b.start)) {
    const first = Math.floor((start + lead) / WORD) * WORD - lead;
    const last = joined.at(-1);
    if (last !== undefined && first <= last.end) last.end = Math.max(last.end, end);
    else joined.push({ start: first, end });
  }
  const gaps = skip.filter(({ start, end }) => end - start >= CHUNK).sort((a, b) => a.start - b.start);
  return joined.flatMap(stretch => [...without(stretch, gaps, lead)]);
}

function* without({ start, end }: Skipped, gaps: readonly Skipped[], lead: number): Iterable<Skipped> {
  let from = start;
  for (const gap of gaps) {
    if (gap.end <= from || gap.start >= end) continue;
    if (gap.start > from) yield { start: from, end: gap.start };
    from = Math.floor((gap.end + lead) / WORD) * WORD - lead;
  }
  if (from < end) yield { start: from, end };
}

/** Bytes between the start of the word in which an address lies, and the address. */
export const leadOf = (start: bigint): number => Number(start & BigInt(WORD - 1));

function touchedIn(image: Pick<MemoryImage, 'regions' | 'memory'>, start: bigint, size: number): Skipped[] {
  const end = start + BigInt(size);
  const found: Skipped[] = [];
  for (const region of image.regions) {
    if (endOf(region) <= start || region.start >= end) continue;
    const base = Number(region.start - start);
    for (const { first, count } of image.memory.touched(region)) {
      const from = Math.max(0, base + first * PAGE);
      const to = Math.min(size, base + (first + count) * PAGE);
      if (to > from) found.push({ start: from, end: to });
    }
  }
  return found;
}

/** What a chunk of one image is read into: words as pairs of 32 bits, low first. */
export class ChunkBuffer {
  readonly bytes = new Uint8Array(CHUNK + 2 * MARGIN);
  readonly halves = new Int32Array(this.bytes.buffer);
  readonly view = new DataView(this.bytes.buffer);

  /**
   * Fills the buffer with the chunk at `position` of the range, and a margin before and after it. What is
   * not of the range, or to be skipped, is zero.
   */
  fill(image: Pick<MemoryImage, 'memory'>, range: SearchedRange, position: number, length: number): void {
    const from = position - MARGIN;
    const to = position + length + MARGIN;
    const first = Math.max(0, from);
    const last = Math.min(range.size, to);
    this.bytes.fill(0, 0, first - from);
    image.memory.read(range.start + BigInt(first), this.bytes.subarray(first - from, last - from));
    this.bytes.fill(0, last - from);
    for (const { start, end } of range.skip) {
      if (end <= first || start >= last) continue;
      this.bytes.fill(0, Math.max(start, first) - from, Math.min(end, last) - from);
    }
  }
}
