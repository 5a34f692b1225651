/**
 * What was found, in numbers for --verbose and --json: how many pointers lead from where to where, and which
 * variables most blocks hang on.
 *
 * @module
 */

import { Window } from '../blocks/window.ts';
import { type BlockGraph, type Reached, usesByRoot } from '../blocks.ts';
import type { MemoryReader } from '../image.ts';
import type { OutwardSlots } from './outward-list.ts';
import { moduleTable } from './ranges.ts';

/** What was found in a range, at its address in the run that is read: of a comparison or of a scan. */
export interface ReportedRange {
  readonly range: {
    readonly name: string;
    readonly start1: bigint;
    readonly size: number;
    readonly searched?: boolean;
  };
  readonly slots: Float64Array;
  readonly outward: OutwardSlots;
  readonly still?: OutwardSlots;
}

export interface PointerWay {
  /** Name of a range. */
  readonly from: string;
  /** Name of a range or of what is outside. */
  readonly to: string;
  readonly kind: 'inside' | 'outward' | 'still';
  readonly pointers: number;
}

/**
 * The ways of all pointers, most of them first. Reads every pointer once: a quarter of a second for four million.
 *
 * @param outside what the modules of outward pointers are called, by their index
 */
export function reportPointers(
  ranges: readonly ReportedRange[],
  outside: readonly { readonly name: string }[],
  memory: MemoryReader,
): PointerWay[] {
  const table = moduleTable(
    ranges.map(({ range: { name, start1, size } }) => ({ name, start: start1, size })),
  );
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
    const window = new Window(memory, start - (start % 8), start + range.size);
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
      if (list === undefined) continue;
      const found = new Float64Array(outside.length);
      for (const module of list.modules) found[module] = (found[module] ?? 0) + 1;
      for (const [i, pointers] of found.entries()) add(range.name, outside[i]?.name ?? '', kind, pointers);
    }
  }
  return [...ways.values()].sort((a, b) => b.pointers - a.pointers);
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
