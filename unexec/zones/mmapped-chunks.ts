/**
 * Chunks that glibc's malloc took with mmap, one mapping each. No list of them exists. Each begins at a
 * page with its header, `prev_size` 0 and `size` with the flag IS_MMAPPED alone, but the kernel merges
 * adjacent mappings into one region. First they are sought where regions begin and behind each other;
 * if those are not all by malloc's own count, every touched page of anonymous memory is looked at. That
 * costs a read of this memory, and is believed only when number and bytes are exactly malloc's.
 *
 * Not found: chunks of huge pages (tunable glibc.malloc.hugetlb=2), which are a file to the kernel. A
 * chunk that was both aligned beyond a page and resized by realloc is listed with its first size,
 * because that is what the start of its mapping still says.
 *
 * Facts from glibc's malloc/malloc.c: `sysmalloc_mmap`, `mremap_chunk`; `mmap_set_chunk` in 2.43, where
 * a chunk's size leaves out the last 16 bytes of the mapping.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { endOf, PAGE, PAGE_BIG, type Region } from '../image.ts';
import type { ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import type { MmapCount } from './malloc-par.ts';
import { byValue, isOwnMemory, type Range, regionAt } from './regions.ts';

const FLAGS = 7n;
const IS_MMAPPED = 2n;

/** Pages looked at, 512 MiB: a quarter of a second. What lies within a chunk that is found costs nothing. */
const MAX_PAGES = 131_072;

/** Pages read at once. */
const BLOCK = 256;

/**
 * The mappings of the chunks, sorted.
 *
 * @param count malloc's own count, where it is known.
 * @param arenas where the arenas' chunks are.
 * @param stacks stacks of threads.
 */
export function mmappedChunks(
  view: ZoneView,
  reader: BoundedReader,
  count: MmapCount | undefined,
  arenas: readonly Range[],
  stacks: readonly Range[],
): Range[] {
  if (count?.chunks === 0) return [];
  const atEdges = chunksAtEdges(view, reader, [...arenas, ...stacks]);
  if (count === undefined || addUp(atEdges, count)) return atEdges;
  const onPages = chunksOnPages(view, arenas);
  return addUp(onPages, count) ? onPages : atEdges;
}

const addUp = (chunks: readonly Range[], count: MmapCount): boolean =>
  chunks.length === count.chunks &&
  chunks.reduce((sum, { start, end }) => sum + end - start, 0n) === count.bytes;

/** Chunks where an anonymous region begins, where something else in it ends, and behind each other. */
function chunksAtEdges(view: ZoneView, reader: BoundedReader, others: readonly Range[]): Range[] {
  const edges = [
    ...view.regions.filter(isOwnMemory).map(region => region.start),
    ...others.map(({ end }) => end),
  ];
  const chunks: Range[] = [];
  let covered = 0n;
  for (const edge of edges.sort(byValue)) {
    const region = edge < covered ? undefined : regionAt(view.regions, edge);
    if (region === undefined || !isOwnMemory(region)) continue;
    covered = edge;
    while (covered < endOf(region)) {
      const end = chunkEnd(covered, reader.word(covered), reader.word(covered + 8n));
      if (end === undefined || end > endOf(region)) break;
      chunks.push({ start: covered, end });
      covered = end;
    }
  }
  return chunks;
}

/** Chunks on any touched page outside of the arenas. What looks like a header in a chunk is its contents. */
function chunksOnPages(view: ZoneView, arenas: readonly Range[]): Range[] {
  const sorted = [...arenas].sort((a, b) => byValue(a.start, b.start));
  const scan = { covered: 0n, pagesLeft: MAX_PAGES };
  const chunks: Range[] = [];
  for (const gap of view.regions.filter(isOwnMemory).flatMap(region => without(region, sorted))) {
    for (const { start, prev_size, size } of pageHeads(view, gap, scan)) {
      const end = start < scan.covered ? undefined : chunkEnd(start, prev_size, size);
      if (end === undefined || end > endOf(gap)) continue;
      chunks.push({ start, end });
      scan.covered = end;
    }
  }
  return chunks;
}

/** The first two words of each touched page, where they may be a header; not below `scan.covered`. */
function* pageHeads(view: ZoneView, region: Region, scan: { readonly covered: bigint; pagesLeft: number }) {
  const block = new Uint8Array(BLOCK * PAGE);
  const words = viewOf(block);
  for (const { first, count } of view.memory.touched(region)) {
    for (let page = first; page < first + count; page += BLOCK) {
      const pages = Math.min(first + count - page, BLOCK);
      const start = region.start + BigInt(page * PAGE);
      if (start + BigInt(pages * PAGE) <= scan.covered) continue;
      scan.pagesLeft -= pages;
      if (scan.pagesLeft < 0) return;
      view.memory.read(start, block.subarray(0, pages * PAGE));
      for (let at = 0; at < pages * PAGE; at += PAGE) {
        if ((words.getUint32(at + 8, true) & 7) !== Number(IS_MMAPPED)) continue;
        yield {
          start: start + BigInt(at),
          prev_size: words.getBigUint64(at, true),
          size: words.getBigUint64(at + 8, true),
        };
      }
    }
  }
}

/** Where the mapping of the chunk at `start` ends, undefined if that is not the header of one. */
function chunkEnd(
  start: bigint,
  prev_size: bigint | undefined,
  head: bigint | undefined,
): bigint | undefined {
  if (prev_size !== 0n || head === undefined || (head & FLAGS) !== IS_MMAPPED) return undefined;
  const size = head & ~FLAGS;
  const end = start + (size % PAGE_BIG === 0n ? size : size + 16n);
  return size > 0n && start % PAGE_BIG === 0n && end % PAGE_BIG === 0n ? end : undefined;
}

/** The parts of a region outside of the ranges, which are sorted. */
function without(region: Region, ranges: readonly Range[]): Region[] {
  const parts: Region[] = [];
  const add = (start: bigint, end: bigint) => {
    if (end > start) parts.push({ ...region, start, size: Number(end - start) });
  };
  let start = region.start;
  for (const range of ranges) {
    if (range.end <= start) continue;
    if (range.start >= endOf(region)) break;
    add(start, range.start);
    start = range.end;
  }
  add(start, endOf(region));
  return parts;
}
