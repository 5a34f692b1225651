/**
 * How much of an arena is free: its free lists walked as glibc's mallinfo2(3) does, but every link and
 * every boundary tag verified, because the process may have been stopped in the middle of malloc.
 *
 * Walking the free lists costs in proportion to what is free, and touches no page that only holds
 * used chunks. The other way, from chunk to chunk (chunk-walk.ts), looks at every one.
 *
 * Chunks in a thread's cache (tcache) count as used, as in mallinfo2: each is marked used, in no list
 * of the arena, and belongs to the thread until it ends.
 *
 * Facts from glibc's malloc/malloc.c ("malloc_chunk details", "bins", `int_mallinfo`), 2.31 to 2.43.
 *
 * @module
 */
import { PAGE_BIG } from '../image.ts';
import type { BoundedReader } from './bounded-reader.ts';
import type { Arena } from './glibc-malloc.ts';
import type { Range } from './regions.ts';

/** A stretch of memory that an arena hands out from: the brk heap, a `heap_info`'s, a mapping. */
export interface Extent extends Range {
  /** Bytes of the free chunks that were found in it. */
  free: bigint;
  /** Bytes of those that are in bins, hence marked free by boundary tags; fast bins and `top` are not. */
  binned: bigint;
}

export const PREV_INUSE = 1n;
const IS_MMAPPED = 2n;
export const FLAGS = 7n;

/** Smallest chunk; all chunks are multiples of 16. */
export const MINSIZE = 32n;

/** Bins 2 to 63 hold chunks of 16 times their number. */
const NSMALLBINS = 64;
const NBINS = 128;

/** Free chunks looked at in one arena; a second of work. */
const MAX_CHUNKS = 1 << 20;

/**
 * Adds each free chunk of the arena, `top` included, to `free` of the extent that contains it.
 * False, and `free` means nothing, when the lists are not consistent or are too long.
 */
export function countFree(
  reader: BoundedReader,
  arena: Arena,
  extentOf: (address: bigint) => Extent | undefined,
): boolean {
  // Somebody holds the lock, so the arena is being changed. (A process with one thread takes no lock.)
  if (arena.state.mutex !== 0) return false;
  const count = { reader, extentOf, left: MAX_CHUNKS };
  return countTop(count, arena) && countFastbins(count, arena) && countBins(count, arena);
}

/** The size field of a chunk without its flags; 0n where it cannot be read. */
export const chunkSize = (reader: BoundedReader, chunk: bigint): bigint =>
  (reader.word(chunk + 8n) ?? 0n) & ~FLAGS;

interface Count {
  readonly reader: BoundedReader;
  readonly extentOf: (address: bigint) => Extent | undefined;
  left: number;
}

/** `top` ends at the end of a page. */
function countTop(count: Count, arena: Arena): boolean {
  const head = count.reader.word(arena.state.top + 8n);
  if (head === undefined || (head & FLAGS) !== PREV_INUSE) return false;
  const size = head & ~FLAGS;
  return (arena.state.top + size) % PAGE_BIG === 0n && addChunk(count, arena.state.top, size) !== undefined;
}

/** Singly linked and still marked used; `fd` is xor'ed with its own page number since 2.32 ("safe-linking"). */
function countFastbins(count: Count, arena: Arena): boolean {
  for (const [index, first] of arena.state.fastbinsY.entries()) {
    const size = BigInt(16 * (index + 2));
    const isChunk = (address: bigint): boolean =>
      chunkSize(count.reader, address) === size && count.extentOf(address) !== undefined;

    for (let chunk = first; chunk !== 0n; ) {
      if (!isChunk(chunk) || !addChunk(count, chunk, size)) return false;
      const next = count.reader.word(chunk + size + 8n);
      if (next === undefined || (next & PREV_INUSE) === 0n) return false;
      const fd = count.reader.word(chunk + 16n);
      if (fd === undefined) return false;
      const revealed = fd ^ ((chunk + 16n) >> 12n);
      chunk = revealed === 0n || isChunk(revealed) ? revealed : fd;
    }
  }
  return true;
}

/** Doubly linked rings through the bin's header. That each `bk` is right excludes a ring without it. */
function countBins(count: Count, arena: Arena): boolean {
  for (let index = 1; index < NBINS; index++) {
    const bin = arena.bin1 + BigInt(16 * (index - 1));
    const size = index > 1 && index < NSMALLBINS ? BigInt(16 * index) : undefined;
    let before = bin;
    let chunk = arena.state.bins[2 * (index - 1)];
    while (chunk !== undefined && chunk !== bin) {
      if (count.reader.word(chunk + 24n) !== before || !countFreeChunk(count, chunk, size)) return false;
      before = chunk;
      chunk = count.reader.word(chunk + 16n);
    }
    if (chunk === undefined || arena.state.bins[2 * (index - 1) + 1] !== before) return false;
  }
  return true;
}

/** A free chunk follows a used one (or both would have been joined), and the next one knows its size. */
function countFreeChunk(count: Count, chunk: bigint, expected: bigint | undefined): boolean {
  const head = count.reader.word(chunk + 8n);
  if (head === undefined || (head & (PREV_INUSE | IS_MMAPPED)) !== PREV_INUSE) return false;
  const size = head & ~FLAGS;
  if (expected !== undefined && size !== expected) return false;
  const extent = addChunk(count, chunk, size);
  if (extent === undefined) return false;
  extent.binned += size;
  const nextHead = count.reader.word(chunk + size + 8n);
  return count.reader.word(chunk + size) === size && nextHead !== undefined && (nextHead & PREV_INUSE) === 0n;
}

/** Every chunk has at least MINSIZE bytes and their sum is bounded: no walk is endless. */
function addChunk(count: Count, chunk: bigint, size: bigint): Extent | undefined {
  const extent = count.extentOf(chunk);
  if (extent === undefined || chunk % 16n !== 0n || size % 16n !== 0n || size < MINSIZE) return undefined;
  if (chunk + size > extent.end || count.left-- <= 0) return undefined;
  extent.free += size;
  return extent.free <= extent.end - extent.start ? extent : undefined;
}
