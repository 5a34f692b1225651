/**
 * The chunks of glibc's arenas, walked from each to the next by their sizes. What is no row of chunks
 * (memory that others took with sbrk between two of malloc's calls, or a size that something overwrote) is
 * passed over: the walk goes on at the next place from which sizes lead to where an arena's memory ends.
 *
 * Facts from glibc's malloc/malloc.c and malloc/arena.c, 2.31 to 2.43: "malloc_chunk details"; fenceposts
 * in `sysmalloc` (main arena: two chunks of 16 bytes; a thread's heap: one of 16, or none, and one of 0).
 *
 * @module
 */
import type { Arena } from '../zones/glibc-malloc.ts';
import { BLOCK_STATE, type BlockState } from './table.ts';
import type { Window } from './window.ts';

/** Between a chunk and what malloc returns: `prev_size` and `size`. */
export const HEADER = 16;
/** What of the chunk's bytes is not the program's: `size`. The next one's `prev_size` is lent to it. */
export const OVERHEAD = 8;
const MINSIZE = 32;
const PREV_INUSE = 1;
const GRAIN = 16;
const FENCEPOST = 16;
const PAGE = 4096;

/** Places tried to find where chunks go on, and chunks walked to prove it. */
const MOST_TRIES = 1 << 20;

/** Memory in which chunks follow each other, as numbers. */
export interface Extent {
  /** Where the first chunk is thought to be. */
  readonly start: number;
  readonly end: number;
  /** Address of the arena's `top`, which may lie elsewhere. */
  readonly top: number;
  readonly found: ChunkFinder;
}

export interface ChunkFinder {
  /** A block, by the address that malloc returned and its usable size. In the order of addresses. */
  block(start: number, size: number, state: BlockState): void;
  /** Memory that holds no chunks, or not to be told which. */
  gap(start: number, end: number, why: 'foreign' | 'damaged'): void;
}

/** Finds the chunks of one extent. */
export function walkExtent(window: Window, extent: Extent): void {
  let at = extent.start;
  while (at + HEADER <= extent.end) {
    const stopped = walkStretch(window, extent, at, extent.found);
    if (stopped.end >= extent.end) return;
    const next = nextStretch(window, extent, stopped.end);
    // The chunk before it has the first word.
    if (stopped.damaged) extent.found.gap(stopped.end + OVERHEAD, next, 'damaged');
    else if (next < extent.end || holdsSomething(window, stopped.end, next)) {
      if (next > stopped.end) extent.found.gap(stopped.end, next, 'foreign');
    }
    at = next;
  }
}

interface Stopped {
  /** Behind the fenceposts or `top`, or where a chunk should be and none is. */
  readonly end: number;
  readonly damaged: boolean;
}

/** From chunk to chunk, to the end of `top`, to fenceposts, or to what is no chunk. */
function walkStretch(
  window: Window,
  { end, top }: Extent,
  first: number,
  found: ChunkFinder | undefined,
): Stopped {
  let chunk = first;
  let size = sizeAt(window, chunk);
  while (chunk !== top) {
    if (size === FENCEPOST || size === 0) {
      // Zeros where the first chunk should be are no fencepost.
      return chunk === first && size === 0
        ? { end: chunk, damaged: true }
        : { end: behindFenceposts(window, chunk, end), damaged: false };
    }
    const next = chunk + size;
    if (!isSize(size) || next + HEADER > end) return { end: chunk, damaged: true };
    const nextHead = window.low(next + 8);
    if (found !== undefined) {
      const isUsed = (nextHead & PREV_INUSE) !== 0;
      found.block(chunk + HEADER, size - OVERHEAD, isUsed ? BLOCK_STATE.used : BLOCK_STATE.free);
    }
    chunk = next;
    size = sizeAt(window, chunk);
  }
  if (!isSize(size) || chunk + size > end) return { end: chunk, damaged: true };
  found?.block(chunk + HEADER, size - HEADER, BLOCK_STATE.free);
  return { end: chunk + size, damaged: false };
}

const sizeAt = (window: Window, chunk: number): number => {
  const head = window.word(chunk + 8);
  return head - (head % 8);
};

const isSize = (size: number): boolean => size >= MINSIZE && size % GRAIN === 0;

function behindFenceposts(window: Window, chunk: number, end: number): number {
  let at = chunk;
  while (at + HEADER <= end && sizeAt(window, at) === FENCEPOST) at += FENCEPOST;
  // The last one of a thread's heap has the size 0.
  if (at + HEADER <= end && window.word(at + 8) === PREV_INUSE) at += FENCEPOST;
  return at > chunk ? at : Math.min(end, chunk + FENCEPOST);
}

/** Where the next row of chunks begins; the end of the extent where there is none. */
function nextStretch(window: Window, extent: Extent, from: number): number {
  const tries = { left: MOST_TRIES };
  const dead = new Set<number>();
  for (let at = Math.ceil(from / GRAIN) * GRAIN; at + HEADER <= extent.end; at += GRAIN) {
    if (tries.left-- <= 0) return extent.end;
    if (leadsToAnEnd(window, extent, at, dead, tries)) return at;
  }
  return extent.end;
}

/** Whether sizes lead from here to `top`, or to two fenceposts at the end of a page. */
function leadsToAnEnd(
  window: Window,
  { end, top }: Extent,
  first: number,
  dead: Set<number>,
  tries: { left: number },
): boolean {
  // The first chunk of a row has none before it that could be free.
  if (first !== top && (window.low(first + 8) & PREV_INUSE) === 0) return false;
  const visited: number[] = [];
  let chunk = first;
  while (chunk !== top) {
    const size = sizeAt(window, chunk);
    if (chunk > first && size === FENCEPOST && behindFenceposts(window, chunk, end) % PAGE === 0) return true;
    if (!isSize(size) || chunk + size + HEADER > end || dead.has(chunk) || tries.left-- <= 0) {
      for (const at of visited) dead.add(at);
      return false;
    }
    visited.push(chunk);
    chunk += size;
  }
  const size = sizeAt(window, top);
  return isSize(size) && top + size <= end;
}

function holdsSomething(window: Window, start: number, end: number): boolean {
  for (let at = Math.ceil(start / 8) * 8; at + 8 <= end; at += 8) if (window.word(at) !== 0) return true;
  return false;
}

/** Where the arena's part of a heap begins: behind its header, and behind the arena in the first one. */
export function firstOfHeap(
  arena: Arena,
  heap: { readonly base: bigint; readonly isFirst: boolean },
  headerSize: number,
): number {
  const behind = heap.isFirst ? arena.address + BigInt(arena.size) : heap.base + BigInt(headerSize);
  return Math.ceil(Number(behind) / GRAIN) * GRAIN;
}

/** Where the first chunk of the main arena's brk heap is. Others may have taken memory with sbrk before it. */
export function firstOfBrk(
  arena: Arena,
  heap: { readonly start: number; readonly end: number },
  topSize: number,
): number {
  const { top, system_mem } = arena.state;
  const first = Math.ceil((Number(top) + topSize - Number(system_mem)) / GRAIN) * GRAIN;
  return first >= heap.start && first < heap.end ? first : Math.ceil(heap.start / GRAIN) * GRAIN;
}
