/**
 * Malloc zones: stretches of memory that an allocator owns, found in what a process left in its
 * memory. glibc's malloc is understood to the last chunk; of any other allocator only the brk heap
 * and the thread stacks are known.
 *
 * @module
 */
import { type AddressLayout, endOf, type MemoryReader, type Module, PAGE, type Region } from './image.ts';
import { mainArenaZones, threadArenaZones } from './zones/arena-zones.ts';
import { boundedReader } from './zones/bounded-reader.ts';
import { findArenas } from './zones/glibc-malloc.ts';
import { mmapCount } from './zones/malloc-par.ts';
import { mmappedChunks } from './zones/mmapped-chunks.ts';
import { byValue, isAnonymous, type Range } from './zones/regions.ts';
import { threadStackZone } from './zones/thread-stacks.ts';

/** Kinds of malloc zone, as the zone note stores them. */
export const ZONE_KIND = {
  /** The brk heap. */
  heap: 1,
  /** glibc's main arena beyond the brk heap (non-contiguous). */
  'main-arena': 2,
  /** One heap of a glibc thread arena. */
  'thread-arena': 3,
  /** One chunk that malloc took with mmap. */
  'mmapped-chunk': 4,
  /** A thread's stack (glibc keeps them like a zone: cached and used again). */
  'thread-stack': 5,
  /** Our own reserve (restart style). */
  reserve: 6,
  /** Blocks of a frozen library, which no allocator owns (shared style). */
  frozen: 7,
} as const;
export type ZoneKind = keyof typeof ZONE_KIND;

export interface MallocZone {
  readonly kind: ZoneKind;
  readonly base: bigint;
  /**
   * Bytes from base to the end of what the allocator may hand out: of a thread arena's heap all the
   * address space that is reserved for it, of a thread's stack the guard page too.
   */
  readonly size: number;
  /** Bytes in use, as far as the allocator's own structures tell; undefined where they cannot. */
  readonly used: number | undefined;
  /** Bytes from base beyond which nothing has been handed out: all zero, or not even accessible. */
  readonly highWater: number;
  /** The unit in which the allocator takes memory from the system, bytes. */
  readonly pageSize: number;
  /** Belongs to the arena that malloc uses unless told otherwise: glibc's main arena. */
  readonly isDefault: boolean;
}

/** What of a process image is needed to find its zones. */
export interface ZoneView {
  /** Sorted by address; `kind` is not looked at. */
  readonly regions: readonly Region[];
  /** The program first. */
  readonly modules: readonly Pick<Module, 'path' | 'start' | 'end'>[];
  /** The main thread first. */
  readonly threads: readonly ZoneThread[];
  readonly layout: Pick<AddressLayout, 'startBrk' | 'brk'>;
  readonly memory: MemoryReader;
}

export interface ZoneThread {
  readonly stackPointer: bigint;
  readonly threadPointer: bigint;
}

/**
 * The malloc zones of a process, sorted by address, without overlaps. Damaged structures, or a process
 * stopped in the middle of malloc, cost a zone its `used`; they are no error.
 *
 * Takes some milliseconds, with a large heap in many pieces up to a second or two, for 1 GiB read at
 * most; numbers that would cost more are not given. A thawed process keeps its zones in mappings of a
 * file: of those only the brk heap is found.
 *
 * @throws UnexecError only what `view.memory` throws.
 */
export function findZones(view: ZoneView): MallocZone[] {
  const reader = boundedReader(view);
  const lists = boundedReader(view);
  const libcs = findArenas(view, reader);
  const zones = libcs.flatMap(({ main, threads }) => [
    ...mainArenaZones(view, lists, main),
    ...threads.flatMap(arena => threadArenaZones(view, reader, lists, arena)),
  ]);
  if (!zones.some(zone => zone.kind === 'heap')) zones.push(...brkHeap(view));

  const stacks = view.threads.slice(1).flatMap(thread => threadStackZone(view, reader, thread) ?? []);
  const count = mmapCount(view, reader, libcs);
  const chunks = mmappedChunks(view, reader, count, zones.map(rangeOf), stacks.map(rangeOf));
  return withoutOverlaps([...zones, ...stacks, ...chunks.map(mmappedZone)]);
}

/** The brk heap of a process whose allocator is not known. */
function brkHeap({ layout }: ZoneView): MallocZone[] {
  const size = Number(layout.brk - layout.startBrk);
  if (size <= 0 || !Number.isSafeInteger(size)) return [];
  return [{ ...wholeZone(layout.startBrk, size), kind: 'heap', used: undefined }];
}

/** Header and slack of the last page count as used, as in mallinfo2's `hblkhd`. */
function mmappedZone({ start, end }: Range): MallocZone {
  const size = Number(end - start);
  return { ...wholeZone(start, size), kind: 'mmapped-chunk', used: size };
}

const wholeZone = (base: bigint, size: number) => ({
  base,
  size,
  highWater: size,
  pageSize: PAGE,
  isDefault: false,
});

/** A stack in memory that the program took from malloc is malloc's; otherwise the lower zone stays. */
function withoutOverlaps(zones: readonly MallocZone[]): MallocZone[] {
  const kept: MallocZone[] = [];
  for (const zone of [...zones].sort((a, b) => byValue(a.base, b.base))) {
    const before = kept.at(-1);
    if (before === undefined || rangeOf(before).end <= zone.base) kept.push(zone);
    else if (before.kind === 'thread-stack' && zone.kind !== 'thread-stack') kept.splice(-1, 1, zone);
  }
  return kept;
}

const rangeOf = (zone: MallocZone): Range => ({ start: zone.base, end: zone.base + BigInt(zone.size) });

/**
 * The regions with what their zones say of them: `heap`, `thread-stack` (its guard too), and `arena` for
 * all other memory of an allocator. A region that zones share has the kind of the one with most bytes.
 * Both arguments are sorted by address, and other regions stay as they are.
 */
export function refineRegionKinds(regions: readonly Region[], zones: readonly MallocZone[]): Region[] {
  const owners = zones.filter(zone => zone.kind !== 'reserve');
  let next = 0;
  return regions.map(region => {
    if (region.name === '[heap]') return { ...region, kind: 'heap' };
    if (!isAnonymous(region)) return region;
    const bytes = { heap: 0, arena: 0, 'thread-stack': 0 };
    for (let zone = owners[next]; zone !== undefined && zone.base < endOf(region); zone = owners[++next]) {
      bytes[regionKind(zone.kind)] += sharedBytes(region, zone);
      // It may go on in the next region.
      if (rangeOf(zone).end > endOf(region)) break;
    }
    const [kind] = (['heap', 'arena', 'thread-stack'] as const).toSorted((a, b) => bytes[b] - bytes[a]);
    return kind !== undefined && bytes[kind] > 0 ? { ...region, kind } : region;
  });
}

const regionKind = (kind: ZoneKind): 'heap' | 'arena' | 'thread-stack' =>
  kind === 'heap' || kind === 'thread-stack' ? kind : 'arena';

function sharedBytes(region: Region, zone: MallocZone): number {
  const distance = Number(zone.base - region.start);
  return Math.max(0, Math.min(region.size, distance + zone.size) - Math.max(0, distance));
}
