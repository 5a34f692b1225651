/**
 * The zones of glibc's arenas: the main arena's brk heap and mappings, the thread arenas' heaps.
 *
 * `used` is what mallinfo2(3) reports, split by zone: what the arena took from the system
 * (`system_mem`) less its free chunks. It is given only where the structures agree with each other.
 *
 * Chunks are read through `lists`, a reader of its own: a heap in a million pieces may exhaust it, and
 * then only the numbers of these zones are missing.
 *
 * @module
 */
import { endOf, PAGE } from '../image.ts';
import type { MallocZone, ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { walkChunks } from './chunk-walk.ts';
import { chunkSize, countFree, type Extent } from './free-chunks.ts';
import { type Arena, heapsOf, NONCONTIGUOUS_BIT } from './glibc-malloc.ts';
import { isAnonymous, isOwnMemory, type Range, regionAt } from './regions.ts';

/**
 * The main arena grows the brk heap; where that meets another mapping it goes on in mappings of its
 * own (`sysmalloc_mmap_fallback`).
 */
export function mainArenaZones(view: ZoneView, lists: BoundedReader, arena: Arena): MallocZone[] {
  const { top, system_mem, flags } = arena.state;
  if (system_mem === 0n) return [];
  const heap = extent(view.layout.startBrk, view.layout.brk);
  // The brk heap of a thawed process may be a mapping, while the arena believes that it is contiguous.
  const isContiguous = (flags & NONCONTIGUOUS_BIT) === 0 && contains(heap, top);
  return isContiguous
    ? [mainZone('heap', heap, usedInHeap(lists, arena, heap))]
    : scatteredZones(view, lists, arena, heap);
}

/** All in the brk heap: used is what is not free. */
function usedInHeap(lists: BoundedReader, arena: Arena, heap: Extent): bigint | undefined {
  const { top, system_mem } = arena.state;
  if (!countFree(lists, arena, address => (contains(heap, address) ? heap : undefined))) return undefined;
  // Below the first chunk may be memory that others took with sbrk before malloc did: it is not in system_mem.
  const end = top + chunkSize(lists, top);
  const first = (end - system_mem + 15n) & -16n;
  if (first < heap.start) return undefined;
  const walk = walkChunks(lists, { start: first, end: heap.end }, top);
  const isBroken = walk?.end === first;
  // It ends earlier, at fenceposts, where others took memory with sbrk later. Then it is no check.
  const disagrees = walk?.end === end && walk.tagged !== heap.binned;
  return isBroken || disagrees ? undefined : system_mem - heap.free;
}

/**
 * The arena's mappings are in no list: `top` and free chunks lead to them, and walking from where a
 * region begins tells how far they reach. Only if all that adds up, it is believed.
 */
function scatteredZones(view: ZoneView, lists: BoundedReader, arena: Arena, heap: Extent): MallocZone[] {
  const { state } = arena;
  const mappings = new Map<bigint, Extent>();
  const extentOf = (address: bigint): Extent | undefined => {
    if (contains(heap, address)) return heap;
    const region = regionAt(view.regions, address);
    if (region === undefined || !isOwnMemory(region)) return undefined;
    const known = mappings.get(region.start) ?? extent(region.start, endOf(region));
    mappings.set(region.start, known);
    return known;
  };
  const isConsistent = countFree(lists, arena, extentOf);
  // Broken lists may have led anywhere.
  if (!isConsistent) mappings.clear();
  extentOf(state.top);

  const walked = [heap, ...mappings.values()]
    .filter(({ start, end }) => end > start)
    .map(part => ({ part, walk: walkChunks(lists, part, state.top) }));
  const sum = walked.reduce((bytes, { part, walk }) => bytes + (walk?.end ?? part.start) - part.start, 0n);
  const addsUp = sum === state.system_mem && walked.every(({ part, walk }) => walk?.tagged === part.binned);

  return walked.map(({ part, walk }) => {
    const used = isConsistent && addsUp && walk ? walk.end - part.start - part.free : undefined;
    if (part === heap) return mainZone('heap', heap, used);
    const end = walk && walk.end > part.start ? walk.end : part.end;
    return mainZone('main-arena', { start: part.start, end }, used);
  });
}

const mainZone = (kind: 'heap' | 'main-arena', range: Range, used: bigint | undefined): MallocZone => ({
  kind,
  base: range.start,
  size: Number(range.end - range.start),
  used: checked(used),
  highWater: Number(range.end - range.start),
  pageSize: PAGE,
  isDefault: true,
});

const extent = (start: bigint, end: bigint): Extent => ({ start, end, free: 0n, binned: 0n });

/** A zone for each heap, with the address space that it may still grow into. */
export function threadArenaZones(
  view: ZoneView,
  reader: BoundedReader,
  lists: BoundedReader,
  arena: Arena,
): MallocZone[] {
  const { heaps, complete } = heapsOf(reader, arena);
  const mapped = heaps.filter(heap => isMapped(view, heap.address, heap.size));
  const extents = new Map<bigint, Extent>();
  for (const { address, size } of mapped) {
    extents.set(address, extent(address, address + size));
  }
  const maxSize = heaps[0]?.maxSize ?? 1n;
  const extentOf = (address: bigint): Extent | undefined => extents.get(address & -maxSize);

  const { top, system_mem } = arena.state;
  const sum = mapped.reduce((bytes, heap) => bytes + heap.size, 0n);
  const consistent =
    complete &&
    sum === system_mem &&
    top + chunkSize(lists, top) === extentOf(top)?.end &&
    countFree(lists, arena, extentOf);

  return mapped.map(heap => {
    const free = extents.get(heap.address)?.free;
    return {
      kind: 'thread-arena',
      base: heap.address,
      size: Number(isMapped(view, heap.address, heap.maxSize) ? heap.maxSize : heap.size),
      used: consistent && free !== undefined ? checked(heap.size - free) : undefined,
      highWater: Number(heap.size),
      pageSize: PAGE,
      isDefault: false,
    };
  });
}

const contains = (extent: Range, address: bigint): boolean => address >= extent.start && address < extent.end;

const checked = (used: bigint | undefined): number | undefined =>
  used === undefined || used < 0n ? undefined : Number(used);

/** Whether anonymous memory covers the range: a heap is a writable mapping and the rest of its reserve. */
function isMapped(view: ZoneView, start: bigint, size: bigint): boolean {
  for (let at = start; at < start + size; ) {
    const region = regionAt(view.regions, at);
    if (region === undefined || !isAnonymous(region)) return false;
    at = endOf(region);
  }
  return true;
}
