/**
 * The main arena's memory walked from chunk to chunk by their sizes. It reads every page that has a
 * chunk's header, so it is for small heaps, where it tells what the free lists cannot:
 *
 * - whether the process was stopped between two steps of malloc. A chunk has then left its bin and is
 *   not yet marked used, or the reverse. A process with one thread takes no lock that would tell.
 * - where memory ends that the arena took elsewhere than in the brk heap, which is written nowhere.
 *
 * Facts from glibc's malloc/malloc.c ("malloc_chunk details"; `sysmalloc` for fenceposts), 2.31 to 2.43.
 *
 * @module
 */
import { PAGE_BIG } from '../image.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { FLAGS, MINSIZE, PREV_INUSE } from './free-chunks.ts';
import type { Range } from './regions.ts';

/** Two chunks of this size, too small to be real, end each stretch of memory but the newest. */
const FENCEPOST = 16n;

/** Bytes walked at most; a twentieth of a second, half a one if all chunks are small. */
const MAX_WALKED = 64n << 20n;

export interface Walk {
  /** End of the last stretch that was walked to its end: a page boundary, `range.start` if there is none. */
  readonly end: bigint;
  /** Bytes up to `end` that boundary tags mark as free. */
  readonly tagged: bigint;
}

/**
 * Walks the stretches of chunks that follow each other from the start of `range`, each to its
 * fenceposts or to the end of `top`. Undefined when that is too far.
 */
export function walkChunks(reader: BoundedReader, range: Range, top: bigint): Walk | undefined {
  if (range.end - range.start > MAX_WALKED) return undefined;
  let walk: Walk = { end: range.start, tagged: 0n };
  while (walk.end < range.end) {
    const stretch = walkStretch(reader, walk.end, range.end, top);
    if (stretch === undefined) break;
    walk = { end: stretch.end, tagged: walk.tagged + stretch.tagged };
  }
  return walk;
}

function walkStretch(reader: BoundedReader, first: bigint, limit: bigint, top: bigint): Walk | undefined {
  let tagged = 0n;
  let chunk = first;
  let head = reader.word(chunk + 8n);
  while (head !== undefined && (head & ~FLAGS) !== FENCEPOST && chunk !== top) {
    const next = chunk + (head & ~FLAGS);
    if (next < chunk + MINSIZE || next >= limit) return undefined;
    head = reader.word(next + 8n);
    if (head !== undefined && (head & PREV_INUSE) === 0n) tagged += next - chunk;
    chunk = next;
  }
  if (head === undefined) return undefined;
  const end = chunk === top ? top + (head & ~FLAGS) : chunk + 2n * FENCEPOST;
  return end % PAGE_BIG === 0n && end > chunk && end <= limit ? { end, tagged } : undefined;
}
