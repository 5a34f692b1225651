/**
 * Chunks that glibc's malloc took with mmap, one each. No list of them exists: each begins a mapping
 * with its header, `prev_size` 0 and `size` with the flag IS_MMAPPED alone. The kernel merges adjacent
 * mappings, so one region may hold several, and they are walked from its start.
 *
 * Not found: a chunk that the kernel merged with a mapping below it that is not malloc's; a chunk of
 * huge pages (tunable glibc.malloc.hugetlb=2), which are a file to the kernel. A chunk that was both
 * aligned beyond a page and enlarged by realloc is listed with its first size, because that is what the
 * start of its mapping still says.
 *
 * Facts from glibc's malloc/malloc.c: `sysmalloc_mmap`, `mremap_chunk`; `mmap_set_chunk` in 2.43, where
 * a chunk's size leaves out the last 16 bytes of the mapping.
 *
 * @module
 */
import { PAGE, PAGE_BIG } from '../image.ts';
import type { MallocZone } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';

const FLAGS = 7n;
const IS_MMAPPED = 2n;

/** The chunks that follow each other from `start`, a page boundary, and end by `end`. */
export function mmappedChunks(reader: BoundedReader, start: bigint, end: bigint): MallocZone[] {
  const zones: MallocZone[] = [];
  for (let base = start; base < end; ) {
    const total = mappingSize(reader, base);
    if (total === undefined || base + total > end) break;
    const size = Number(total);
    // Header and slack of the last page count as used, as in mallinfo2's hblkhd.
    zones.push({
      kind: 'mmapped-chunk',
      base,
      size,
      used: size,
      highWater: size,
      pageSize: PAGE,
      isDefault: false,
    });
    base += total;
  }
  return zones;
}

function mappingSize(reader: BoundedReader, base: bigint): bigint | undefined {
  const head = reader.word(base + 8n);
  if (head === undefined || (head & FLAGS) !== IS_MMAPPED || reader.word(base) !== 0n) return undefined;
  const size = head & ~FLAGS;
  if (size === 0n) return undefined;
  if (size % PAGE_BIG === 0n) return size;
  return (size + 16n) % PAGE_BIG === 0n ? size + 16n : undefined;
}
