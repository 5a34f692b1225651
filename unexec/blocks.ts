/**
 * The blocks of a program: everything that its allocators have handed out, and what they hold free. glibc's
 * chunks of every arena, chunks with a mapping of their own, and our own zone; of any other allocator only
 * where its memory is, as one block in state `unknown`. With the pointers between them (`blocks/graph.ts`)
 * the memory of a program is a graph, of which `blocks/reach.ts` tells what is reachable, in which order.
 *
 * @module
 */

import { markFastBins, markThreadCaches } from './blocks/freed.ts';
import { firstOfBrk, firstOfHeap, HEADER, walkExtent } from './blocks/glibc-chunks.ts';
import { mmappedBlock } from './blocks/mmapped-block.ts';
import { walkOwnZone } from './blocks/own-zone.ts';
import {
  BLOCK_STATE,
  BlockColumns,
  type BlockRemark,
  type BlockState,
  Blocks,
  type BlockZone,
} from './blocks/table.ts';
import { Window } from './blocks/window.ts';
import { type BoundedReader, boundedReader } from './zones/bounded-reader.ts';
import { type Arena, findArenas, heapsOf } from './zones/glibc-malloc.ts';
import { findZones, type MallocZone, type ZoneView } from './zones.ts';

export { type BlockGraph, type GraphRange, graphOf } from './blocks/graph.ts';
export { type Reached, type RootUse, reachableFrom, usesByRoot } from './blocks/reach.ts';
export {
  BLOCK_STATE,
  type Block,
  type BlockRemark,
  type BlockState,
  Blocks,
  type BlockZone,
} from './blocks/table.ts';

export interface BlockSources {
  /** The malloc zones where they are known already; default: those that `findZones` finds. */
  readonly zones?: readonly MallocZone[];
  /** Addresses of our own zones: the reserve of a prepared program. */
  readonly reserves?: readonly bigint[];
}

/**
 * All blocks of a process. Damaged structures are no error: what cannot be walked is in `remarks`, and a
 * block in state `unknown`.
 *
 * A heap of 200 MB in a million blocks takes about a quarter of a second.
 *
 * @throws UnexecError only what `view.memory` throws
 */
export function findBlocks(view: ZoneView, sources: BlockSources = {}): Blocks {
  const reader = boundedReader(view);
  const arenas = findArenas(view, reader);
  const zones: readonly MallocZone[] = (sources.zones ?? findZones(view)).filter(
    ({ kind }) => kind !== 'thread-stack' && kind !== 'reserve',
  );
  const collector = new Collector();
  const all = [
    ...zones.map(zone => ({ base: zone.base, walk: () => walkZone(collector, view, reader, arenas, zone) })),
    ...(sources.reserves ?? []).map(base => ({ base, walk: () => walkReserve(collector, view, base) })),
  ];
  for (const { walk } of all.sort((a, b) => (a.base < b.base ? -1 : 1))) walk();
  const blocks = collector.finish();
  // Threads' caches first: a chunk that is in none is not looked for in fast bins.
  const lists = boundedReader(view);
  if (arenas.length > 0) markThreadCaches(blocks, lists);
  for (const { main, threads } of arenas) {
    for (const arena of [main, ...threads]) markFastBins(blocks, arena, lists);
  }
  return blocks;
}

/** The blocks of our own zones alone, of whatever system: a Mach-O program's, an emulated one's. */
export function ownZoneBlocks(view: Pick<ZoneView, 'memory'>, reserves: readonly bigint[]): Blocks {
  const collector = new Collector();
  for (const base of [...reserves].sort((a, b) => (a < b ? -1 : 1))) walkReserve(collector, view, base);
  return collector.finish();
}

function walkReserve(collector: Collector, { memory }: Pick<ZoneView, 'memory'>, base: bigint): void {
  const zone = { kind: 'reserve', base, size: 0 } as const;
  const { size } = walkOwnZone(memory, base, collector.finderOf(zone));
  collector.resize(size);
}

type Arenas = ReturnType<typeof findArenas>;

function walkZone(
  collector: Collector,
  view: ZoneView,
  reader: BoundedReader,
  arenas: Arenas,
  zone: MallocZone,
): void {
  const found = collector.finderOf(zone);
  const start = Number(zone.base);
  const end = start + zone.highWater;
  if (zone.kind === 'mmapped-chunk') {
    const block = mmappedBlock(reader, zone);
    found.block(block.start, block.size, BLOCK_STATE.used);
    return;
  }
  const part = arenaOf(arenas, reader, zone);
  if (part === undefined) {
    found.gap(start, end, 'foreign');
    return;
  }
  const window = new Window(view.memory, start, end);
  const { arena } = part;
  const top = Number(arena.state.top);
  const topSize = Number((reader.word(arena.state.top + 8n) ?? 0n) & ~7n);
  const first = firstOf(part, { start, end }, topSize);
  if (part.kind === 'heap' && first - start > HEADER) found.gap(start, first, 'foreign');
  walkExtent(window, { start: first, end, top, found });
}

function firstOf(part: ArenaPart, zone: { start: number; end: number }, topSize: number): number {
  switch (part.kind) {
    case 'heap':
      return firstOfBrk(part.arena, zone, topSize);
    case 'main-arena':
      return zone.start;
    case 'thread-arena':
      return firstOfHeap(part.arena, part, part.headerSize);
  }
}

type ArenaPart =
  | { readonly kind: 'heap' | 'main-arena'; readonly arena: Arena }
  | {
      readonly kind: 'thread-arena';
      readonly arena: Arena;
      readonly base: bigint;
      readonly isFirst: boolean;
      readonly headerSize: number;
    };

/** Which arena's memory a zone is. */
function arenaOf(arenas: Arenas, reader: BoundedReader, zone: MallocZone): ArenaPart | undefined {
  const { base, kind } = zone;
  for (const { main, threads } of arenas) {
    if (kind === 'heap' && main.state.system_mem > 0n) return { kind, arena: main };
    if (kind === 'main-arena' && main.state.system_mem > 0n) return { kind, arena: main };
    if (kind !== 'thread-arena') continue;
    for (const arena of threads) {
      const { heaps } = heapsOf(reader, arena);
      const first = heaps.at(-1);
      if (first === undefined || !heaps.some(heap => heap.address === base)) continue;
      const headerSize = Number(arena.address - first.address);
      return { kind, arena, base, isFirst: base === first.address, headerSize };
    }
  }
  return undefined;
}

/** Gathers blocks zone by zone, in the order of addresses. */
class Collector {
  readonly #columns = new BlockColumns();
  readonly #zones: BlockZone[] = [];
  readonly #remarks: BlockRemark[] = [];

  finderOf(of: BlockZone) {
    const zone: BlockZone = { kind: of.kind, base: of.base, size: of.size };
    const index = this.#zones.push(zone) - 1;
    return {
      block: (start: number, size: number, state: BlockState) => {
        this.#columns.push(start, size, state, index);
      },
      gap: (start: number, end: number, why: 'foreign' | 'damaged') => {
        if (end <= start) return;
        this.#columns.push(start, end - start, BLOCK_STATE.unknown, index);
        const what = why === 'damaged' ? 'no chunk is here, where one should be' : 'memory of others';
        this.#remarks.push({
          zone,
          address: start,
          what: `${what}: ${end - start} bytes are kept as one block`,
        });
      },
    };
  }

  /** Of the last zone: how large it turned out to be. */
  resize(size: number): void {
    const last = this.#zones.pop();
    if (last !== undefined) this.#zones.push({ ...last, size });
  }

  finish(): Blocks {
    return new Blocks(this.#columns, this.#zones, this.#remarks);
  }
}
