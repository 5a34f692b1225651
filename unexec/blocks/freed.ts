/**
 * Chunks that are freed though boundary tags call them used: those in fast bins, and in the caches of
 * threads (tcache). A thread's cache is itself a chunk of its arena, of a size that tells the version, and
 * nothing leads to it but a thread-local variable; but its contents prove it: each list is as long as its
 * count and of chunks of its size. So every chunk of that size is looked at.
 *
 * Facts from glibc's malloc/malloc.c: `tcache_perthread_struct` (2.30 to 2.41: counts; 2.42 on: free slots,
 * and 12 more bins for larger sizes), `PROTECT_PTR` since 2.32.
 *
 * @module
 */
import type { BoundedReader } from '../zones/bounded-reader.ts';
import type { Arena } from '../zones/glibc-malloc.ts';
import { HEADER, OVERHEAD } from './glibc-chunks.ts';
import { BLOCK_STATE, type Blocks } from './table.ts';

interface CacheLayout {
  /** Bytes of `counts` or `num_slots`, two each. */
  readonly bins: number;
  /** The 16-bit numbers say how long the lists are. */
  readonly counted: boolean;
  /** Bins for one chunk size each, from 32 on in steps of 16; the rest hold larger ones. */
  readonly exactBins: number;
}
/** By the usable size of the chunk. */
const LAYOUTS: ReadonlyMap<number, CacheLayout> = new Map([
  [0x288, { bins: 64, counted: true, exactBins: 64 }],
  [0x2f8, { bins: 76, counted: false, exactBins: 64 }],
]);
const MOST_IN_LIST = 65_536;

/** Marks the chunks of all fast bins `cached`. */
export function markFastBins(blocks: Blocks, arena: Arena, reader: BoundedReader): void {
  for (const [index, first] of arena.state.fastbinsY.entries()) {
    const usable = 16 * (index + 2) - OVERHEAD;
    let chunk = first;
    for (let count = 0; chunk !== 0n && count < blocks.count; count++) {
      const block = blocks.startingAt(Number(chunk) + HEADER);
      if (block < 0 || blocks.sizes[block] !== usable || blocks.states[block] !== BLOCK_STATE.used) break;
      blocks.states[block] = BLOCK_STATE.cached;
      const fd = reader.word(chunk + 16n);
      if (fd === undefined) break;
      const revealed = fd ^ ((chunk + 16n) >> 12n);
      const isPlain = revealed !== 0n && blocks.startingAt(Number(revealed) + HEADER) < 0;
      chunk = isPlain ? fd : revealed;
    }
  }
}

/** Marks what is in threads' caches `cached`, and the caches `allocator`. Returns how many caches there are. */
export function markThreadCaches(blocks: Blocks, reader: BoundedReader): number {
  let caches = 0;
  for (let block = 0; block < blocks.count; block++) {
    const layout = LAYOUTS.get(blocks.sizes[block] ?? 0);
    if (layout === undefined || blocks.states[block] !== BLOCK_STATE.used) continue;
    const cached = cacheAt(blocks, block, layout, reader);
    if (cached === undefined || cached.length === 0) continue;
    caches++;
    blocks.states[block] = BLOCK_STATE.allocator;
    for (const chunk of cached) blocks.states[chunk] = BLOCK_STATE.cached;
  }
  return caches;
}

/** The chunks in a cache; undefined where this is none. An empty one cannot be told from zeros: none either. */
function cacheAt(
  blocks: Blocks,
  block: number,
  { bins, counted, exactBins }: CacheLayout,
  reader: BoundedReader,
): number[] | undefined {
  const start = BigInt(blocks.starts[block] ?? 0);
  const bytes = reader.bytes(start, bins * 2 + bins * 8);
  if (bytes === undefined) return undefined;
  const cached: number[] = [];
  for (let bin = 0; bin < bins; bin++) {
    const count = counted ? bytes.getUint16(2 * bin, true) : undefined;
    const first = bytes.getBigUint64(2 * bins + 8 * bin, true);
    if (count !== undefined && (count === 0) !== (first === 0n)) return undefined;
    const usable = bin < exactBins ? 16 * (bin + 2) - OVERHEAD : undefined;
    const list = listFrom(blocks, first, usable, count ?? MOST_IN_LIST, reader);
    if (list === undefined || (count !== undefined && list.length !== count)) return undefined;
    for (const chunk of list) cached.push(chunk);
  }
  return cached;
}

/** Up to `most` chunks of a list; undefined where it leads elsewhere. */
function listFrom(
  blocks: Blocks,
  first: bigint,
  usable: number | undefined,
  most: number,
  reader: BoundedReader,
): number[] | undefined {
  const list: number[] = [];
  for (let entry = first; entry !== 0n; ) {
    const block = isAddress(entry) ? blocks.startingAt(Number(entry)) : -1;
    if (block < 0 || blocks.states[block] !== BLOCK_STATE.used || list.length >= most) return undefined;
    if (usable !== undefined && blocks.sizes[block] !== usable) return undefined;
    list.push(block);
    const next = reader.word(entry);
    if (next === undefined) return undefined;
    const revealed = next ^ (entry >> 12n);
    const isPlain = revealed !== 0n && (!isAddress(revealed) || blocks.startingAt(Number(revealed)) < 0);
    entry = isPlain ? next : revealed;
  }
  return list;
}

const isAddress = (value: bigint): boolean => value < 2n ** 48n;
