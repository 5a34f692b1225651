/**
 * What is reachable in a graph of blocks, in an order that keeps together what is used together: depth first,
 * from the roots in their order, and from each block in the order of its words. The same graph gives the
 * same order, so two dumps of a program are alike.
 *
 * @module
 */
import type { BlockGraph } from './graph.ts';

export interface Reached {
  /** Indexes of blocks, in the order in which they were reached. */
  readonly order: Uint32Array;
  /** By index of the block: which root (by its place in the list) led there first; -1: none did. */
  readonly rootOf: Int32Array;
  /** By index of the block: the block that led there; -1 for one that a root leads to, or unreached. */
  readonly parents: Int32Array;
}

/**
 * Everything that can be reached from these blocks; a block that several roots lead to belongs to the first.
 *
 * @param roots indexes of blocks, in order; default: where the graph's own root words lead
 */
export function reachableFrom(graph: BlockGraph, roots: ArrayLike<number> = graph.roots.targets): Reached {
  const { blocks, first, targets } = graph;
  const order = new Uint32Array(blocks.count);
  const rootOf = new Int32Array(blocks.count).fill(-1);
  const parents = new Int32Array(blocks.count).fill(-1);
  // The path from the root, and for each block on it the edge that is next.
  const path = new Uint32Array(blocks.count);
  const edges = new Uint32Array(blocks.count);
  let count = 0;
  for (let root = 0; root < roots.length; root++) {
    const start = roots[root] ?? 0;
    if (rootOf[start] !== -1) continue;
    rootOf[start] = root;
    order[count++] = start;
    path[0] = start;
    edges[0] = first[start] ?? 0;
    for (let depth = 0; depth >= 0; ) {
      const block = path[depth] ?? 0;
      const edge = edges[depth] ?? 0;
      if (edge >= (first[block + 1] ?? 0)) {
        depth--;
        continue;
      }
      edges[depth] = edge + 1;
      const target = targets[edge] ?? 0;
      if (rootOf[target] !== -1) continue;
      rootOf[target] = root;
      parents[target] = block;
      order[count++] = target;
      depth++;
      path[depth] = target;
      edges[depth] = first[target] ?? 0;
    }
  }
  return { order: order.slice(0, count), rootOf, parents };
}

/** What hangs on a root: blocks that it leads to first. */
export interface RootUse {
  /** Index in the list of roots. */
  readonly root: number;
  readonly blocks: number;
  readonly bytes: number;
  /** Index of its largest block. */
  readonly largest: number;
}

/** The roots with what hangs on them, most bytes first. Roots with nothing of their own are left out. */
export function usesByRoot({ blocks }: BlockGraph, { order, rootOf }: Reached): RootUse[] {
  const uses = new Map<number, { root: number; blocks: number; bytes: number; largest: number }>();
  for (const block of order) {
    const root = rootOf[block] ?? -1;
    const size = blocks.sizes[block] ?? 0;
    const use = uses.get(root) ?? { root, blocks: 0, bytes: 0, largest: block };
    use.blocks++;
    use.bytes += size;
    if (size > (blocks.sizes[use.largest] ?? 0)) use.largest = block;
    uses.set(root, use);
  }
  return [...uses.values()].sort((a, b) => b.bytes - a.bytes || a.root - b.root);
}
