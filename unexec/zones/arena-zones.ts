/**
 * The zones of glibc's arenas: the main arena's brk heap and mappings, the thread arenas' heaps.
 *
 * `used` is what mallinfo2(3) reports, split by zone: what the arena took from the system
 * (`system_mem`) less its free chunks. It is given only where the structures agree with each other.
 *
 * @module
 */
import { endOf, PAGE } from '../image.ts';
import type { MallocZone, ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { chunkSize, countFree, type Extent, tagsAgree } from './free-chunks.ts';
import { type Arena, heapsOf, NONCONTIGUOUS_BIT } from './glibc-malloc.ts';
import { isAnonymous, isOwnMemory, type Range, regionAt } from './regions.ts';

/**
 * The main arena grows the brk heap; where that meets another mapping it goes on in mappings of its
 * own (`sysmalloc_mmap_fallback`). Nothing lists those: `top` and free chunks lead to them.
 */
export function mainArenaZones(view: ZoneView, reader: BoundedReader, arena: Arena): MallocZone[] {
  const { top, system_mem, flags } = arena.state;
  if (system_mem === 0n) return [];
  const topEnd = top + chunkSize(reader, top);
  const heap: Extent = { start: view.layout.startBrk, end: view.layout.brk, free: 0n, binned: 0n };
  const mappings = new Map<bigint, Extent>();
  // The brk heap of a thawed process may be a mapping, while the arena believes that it is contiguous.
  const hasMappings = (flags & NONCONTIGUOUS_BIT) !== 0 || !contains(heap, top);

  const extentOf = (address: bigint): Extent | undefined => {
    if (contains(heap, address)) return heap;
    const region = hasMappings ? regionAt(view.regions, address) : undefined;
    if (region === undefined || !isOwnMemory(region)) return undefined;
    const known = mappings.get(region.start);
    if (known !== undefined) return known;
    // The newest mapping ends with `top`: the kernel may have merged it with one above that is not malloc's.
    const end = top >= region.start && topEnd < endOf(region) ? topEnd : endOf(region);
    const extent = { start: region.start, end, free: 0n, binned: 0n };
    mappings.set(region.start, extent);
    return extent;
  };

  const firstChunk = (topEnd - system_mem + 15n) & -16n;
  const consistent =
    countFree(reader, arena, extentOf) && (hasMappings || tagsAgree(reader, heap, firstChunk, top));
  // A broken list may have led anywhere.
  if (!consistent) mappings.clear();

  const extents = [heap, ...mappings.values()].filter(extent => extent.end > extent.start);
  const usedBy = (extent: Extent): bigint | undefined => {
    if (!consistent) return undefined;
    // Memory below the arena's first chunk is somebody's who used sbrk before it: it is not in system_mem.
    if (mappings.size === 0) return system_mem <= topEnd - heap.start ? system_mem - heap.free : undefined;
    // With several, each is known only when they add up.
    const sum = extents.reduce((bytes, { start, end }) => bytes + end - start, 0n);
    return sum === system_mem ? extent.end - extent.start - extent.free : undefined;
  };
  return extents.map(extent => ({
    kind: extent === heap ? 'heap' : 'main-arena',
    base: extent.start,
    size: Number(extent.end - extent.start),
    used: checked(usedBy(extent)),
    highWater: Number(extent.end - extent.start),
    pageSize: PAGE,
    isDefault: true,
  }));
}

/** A zone for each heap, with the address space that it may still grow into. */
export function threadArenaZones(view: ZoneView, reader: BoundedReader, arena: Arena): MallocZone[] {
  const { heaps, complete } = heapsOf(reader, arena);
  const mapped = heaps.filter(heap => isMapped(view, heap.address, heap.size));
  const extents = new Map<bigint, Extent>();
  for (const { address, size } of mapped) {
    extents.set(address, { start: address, end: address + size, free: 0n, binned: 0n });
  }
  const maxSize = heaps[0]?.maxSize ?? 1n;
  const extentOf = (address: bigint): Extent | undefined => extents.get(address & -maxSize);

  const { top, system_mem } = arena.state;
  const sum = mapped.reduce((bytes, heap) => bytes + heap.size, 0n);
  const consistent =
    complete &&
    sum === system_mem &&
    top + chunkSize(reader, top) === extentOf(top)?.end &&
    countFree(reader, arena, extentOf);

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
