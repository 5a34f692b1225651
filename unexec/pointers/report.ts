/**
 * What a comparison found, in numbers for --verbose and --json: how many words of each kind, how many pointers
 * lead from where to where, and which blocks are the largest and hang on what.
 *
 * @module
 */

import { Window } from '../blocks/window.ts';
import { type BlockGraph, type Reached, usesByRoot } from '../blocks.ts';
import type { MemoryReader } from '../image.ts';
import type { PointerComparison } from './compare.ts';
import type { Counts } from './found.ts';
import { moduleTable, type PairedModule } from './ranges.ts';

export interface PointerReport {
  readonly counts: Counts;
  /** Most pointers first. */
  readonly ways: readonly PointerWay[];
}

export interface PointerWay {
  /** Name of a range. */
  readonly from: string;
  /** Name of a range or of what is outside. */
  readonly to: string;
  readonly kind: 'inside' | 'outward' | 'still';
  readonly pointers: number;
}

/** Reads every pointer once: a tenth of a second for ten million. */
export function reportPointers(
  { ranges, counts }: Pick<PointerComparison, 'ranges' | 'counts'>,
  outside: readonly PairedModule[],
  first: MemoryReader,
): PointerReport {
  const table = moduleTable(ranges.map(({ range }) => ({ ...range, start: range.start1 })));
  const ways = new Map<string, { from: string; to: string; kind: PointerWay['kind']; pointers: number }>();
  const add = (from: string, to: string, kind: PointerWay['kind'], pointers: number): void => {
    if (pointers === 0) return;
    const key = JSON.stringify([from, to, kind]);
    const way = ways.get(key);
    if (way === undefined) ways.set(key, { from, to, kind, pointers });
    else way.pointers += pointers;
  };
  for (const { range, slots, outward, still } of ranges) {
    const inside = new Float64Array(ranges.length + 1);
    const start = Number(range.start1);
    const window = new Window(first, start - (start % 8), start + range.size);
    for (const slot of slots) {
      const address = window.pointer(start + slot);
      let target = table.find(address);
      if (target < 0) target = table.findEnd(address);
      const index = target < 0 ? ranges.length : target;
      inside[index] = (inside[index] ?? 0) + 1;
    }
    for (const [i, pointers] of inside.entries()) {
      add(range.name, ranges[i]?.range.name ?? 'outside of all ranges (biased)', 'inside', pointers);
    }
    for (const [kind, list] of [['outward', outward] as const, ['still', still] as const]) {
      const found = new Float64Array(outside.length);
      for (const module of list.modules) found[module] = (found[module] ?? 0) + 1;
      for (const [i, pointers] of found.entries()) add(range.name, outside[i]?.name ?? '', kind, pointers);
    }
  }
  const sorted = [...ways.values()].sort((a, b) => b.pointers - a.pointers);
  return { counts, ways: sorted };
}

export interface BlockReport {
  readonly blocks: number;
  /** Bytes of the blocks in use. */
  readonly bytes: number;
  readonly unreachable: { readonly blocks: number; readonly bytes: number };
  /** Pointers to what is freed. */
  readonly dangling: number;
  /** Variables with what hangs on them, most bytes first; those of one name together. */
  readonly roots: readonly RootReport[];
}

export interface RootReport {
  readonly name: string;
  readonly blocks: number;
  readonly bytes: number;
  /** Bytes of its largest block. */
  readonly largest: number;
}

/**
 * @param nameOf names the variable at an address of the first run; words of one table should have one name
 * @param most roots that are listed
 */
export function reportBlocks(
  graph: BlockGraph,
  reached: Reached,
  nameOf: (address: bigint) => string,
  most = 20,
): BlockReport {
  const { blocks } = graph;
  let live = 0;
  let bytes = 0;
  let lostBlocks = 0;
  let lostBytes = 0;
  for (let i = 0; i < blocks.count; i++) {
    if (!blocks.isLive(i)) continue;
    const size = blocks.sizes[i] ?? 0;
    live++;
    bytes += size;
    if (reached.rootOf[i] !== -1) continue;
    lostBlocks++;
    lostBytes += size;
  }
  const roots = new Map<string, { name: string; blocks: number; bytes: number; largest: number }>();
  for (const use of usesByRoot(graph, reached)) {
    const name = nameOf(BigInt(graph.roots.addresses[use.root] ?? 0));
    const root = roots.get(name) ?? { name, blocks: 0, bytes: 0, largest: 0 };
    root.blocks += use.blocks;
    root.bytes += use.bytes;
    root.largest = Math.max(root.largest, blocks.sizes[use.largest] ?? 0);
    roots.set(name, root);
  }
  return {
    blocks: live,
    bytes,
    unreachable: { blocks: lostBlocks, bytes: lostBytes },
    dangling: graph.dangling.addresses.length,
    roots: [...roots.values()].sort((a, b) => b.bytes - a.bytes).slice(0, most),
  };
}
