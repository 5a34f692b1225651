/**
 * Blocks and the pointers between them. Where pointers are comes from outside: a comparison of two runs, or
 * a scan. Only what they hold is read here, and only of blocks that are in use: what a freed block still
 * holds means nothing.
 *
 * @module
 */
import type { MemoryReader } from '../image.ts';
import type { Blocks } from './table.ts';
import { Window } from './window.ts';

/** Memory with known pointers: a range of a comparison, at its address in the run whose blocks these are. */
export interface GraphRange {
  readonly start: bigint;
  /** Offsets of the pointers from there, ascending. */
  readonly slots: Float64Array;
}

/** In compressed rows: the edges of block i are `targets[first[i]]` to `targets[first[i + 1] - 1]`. */
export interface BlockGraph {
  readonly blocks: Blocks;
  readonly first: Uint32Array;
  /** Indexes of blocks, for each block in the order of its slots. */
  readonly targets: Uint32Array;
  /** Words outside of all blocks that lead to one: addresses, ascending, and the block of each. */
  readonly roots: { readonly addresses: Float64Array; readonly targets: Uint32Array };
  /** Pointers in blocks in use that lead into a zone, but to no block that is in use: to freed ones. */
  readonly dangling: { readonly addresses: Float64Array; readonly targets: Uint32Array };
  /** Pointers that were looked at and lead to no block: to code, data, an allocator's own words. */
  readonly elsewhere: number;
}

/** The graph of these blocks. Linear in the number of pointers. */
export function graphOf(blocks: Blocks, memory: MemoryReader, ranges: readonly GraphRange[]): BlockGraph {
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
  const most = sorted.reduce((sum, { slots }) => sum + slots.length, 0);
  const sources = new Uint32Array(most);
  const targets = new Uint32Array(most);
  const roots = { addresses: new Float64Array(most), targets: new Uint32Array(most) };
  const dangling = { addresses: new Float64Array(most), targets: new Uint32Array(most) };
  const counts = { edges: 0, roots: 0, dangling: 0, elsewhere: 0 };
  for (const { start, slots } of sorted) {
    const base = Number(start);
    const window = new Window(memory, base, base + (slots.at(-1) ?? 0) + 8);
    let source = -1;
    let sourceEnd = -1;
    for (const slot of slots) {
      const address = base + slot;
      if (address >= sourceEnd) {
        source = blocks.find(address);
        const end = source < 0 ? -1 : (blocks.starts[source] ?? 0) + (blocks.sizes[source] ?? 0);
        // One past a block's end is no word of the block.
        if (address >= end) source = -1;
        sourceEnd = source < 0 ? -1 : end;
      }
      if (source >= 0 && !blocks.isLive(source)) continue;
      const target = blocks.find(window.pointer(address));
      if (target < 0) {
        counts.elsewhere++;
      } else if (!blocks.isLive(target)) {
        dangling.addresses[counts.dangling] = address;
        dangling.targets[counts.dangling++] = target;
      } else if (source < 0) {
        roots.addresses[counts.roots] = address;
        roots.targets[counts.roots++] = target;
      } else {
        sources[counts.edges] = source;
        targets[counts.edges++] = target;
      }
    }
  }
  return {
    blocks,
    first: rowsOf(sources, counts.edges, blocks.count),
    targets: targets.slice(0, counts.edges),
    roots: cut(roots, counts.roots),
    dangling: cut(dangling, counts.dangling),
    elsewhere: counts.elsewhere,
  };
}

/** Sources ascend, as the slots do. */
function rowsOf(sources: Uint32Array, edges: number, count: number): Uint32Array {
  const first = new Uint32Array(count + 1);
  for (let i = 0; i < edges; i++) {
    const row = (sources[i] ?? 0) + 1;
    first[row] = (first[row] ?? 0) + 1;
  }
  for (let i = 0; i < count; i++) first[i + 1] = (first[i + 1] ?? 0) + (first[i] ?? 0);
  return first;
}

const cut = (list: { addresses: Float64Array; targets: Uint32Array }, length: number) => ({
  addresses: list.addresses.slice(0, length),
  targets: list.targets.slice(0, length),
});
