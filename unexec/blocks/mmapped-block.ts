/**
 * The one block of a mapping that malloc took for a large allocation. An aligned one begins further inside,
 * with a header of its own; the header at the mapping's start then still tells of all of it.
 *
 * Facts from glibc's malloc/malloc.c: `sysmalloc_mmap`, `_int_memalign` (2.31 to 2.42), `mmap_set_chunk` (2.43).
 *
 * @module
 */

import type { BoundedReader } from '../zones/bounded-reader.ts';
import type { MallocZone } from '../zones.ts';
import { HEADER, OVERHEAD } from './glibc-chunks.ts';

const MINSIZE = 32n;
const IS_MMAPPED = 2n;
const FLAGS = 7n;
const PAGE = 4096n;

/** Where the block starts, and its usable bytes. */
export function mmappedBlock(
  reader: BoundedReader,
  { base, size }: MallocZone,
): { start: number; size: number } {
  const read = (reader.word(base + 8n) ?? 0n) & ~FLAGS;
  // What realloc made of an aligned one is not told at its start.
  const head = read === BigInt(size) || read === BigInt(size - HEADER) ? read : BigInt(size);
  for (const lead of leads(base, BigInt(size))) {
    if (reader.word(base + lead) !== lead) continue;
    if (reader.word(base + lead + 8n) !== ((head - lead) | IS_MMAPPED)) continue;
    return { start: Number(base + lead) + HEADER, size: usable(head - lead, head) };
  }
  return { start: Number(base) + HEADER, size: usable(head, head) };
}

/** Since 2.43 a chunk's size is as if another one followed it. */
const usable = (chunk: bigint, whole: bigint): number =>
  Number(chunk) - (whole % PAGE === 0n ? HEADER : OVERHEAD);

/** How far behind the mapping's start an aligned chunk may begin, for every alignment. */
function* leads(base: bigint, size: bigint): Generator<bigint> {
  const block = base + BigInt(HEADER);
  for (let alignment = 32n; alignment < size; alignment *= 2n) {
    const lead = -block & (alignment - 1n);
    if (lead === 0n) continue;
    yield lead < MINSIZE ? lead + alignment : lead;
  }
}
