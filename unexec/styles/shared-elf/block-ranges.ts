/**
 * Ranges for a comparison from blocks: those that lie in the same order in both runs, and moved by the same
 * amount, are one range, with what is between them left out. A heap that grew alike in both is a range a MiB,
 * rather than one a block.
 *
 * @module
 */
import type { PairedRange, Skipped } from '../../pointers.ts';
import type { BlockPairs } from './pair-blocks.ts';

/** The comparison looks through a range's list of what is left out for every MiB of it. */
const LONGEST = 1 << 20;

/** The ranges of all blocks that were paired. */
export function blockRanges(pairs: BlockPairs): PairedRange[] {
  const extents = Array.from({ length: pairs.count }, (_, number) => pairs.extent(number));
  extents.sort((x, y) => x.b - y.b);
  const ranks = new Map(extents.map(({ a }, rank) => [a, rank]));
  extents.sort((x, y) => x.a - y.a);

  const ranges: PairedRange[] = [];
  let open: { a: number; b: number; end: number; rank: number; skip: Skipped[] } | undefined;
  const close = (): void => {
    if (open === undefined) return;
    const { a, b, end, skip } = open;
    ranges.push({ name: 'blocks', start1: BigInt(a), start2: BigInt(b), size: end - a, skip });
    open = undefined;
  };
  for (const { a, b, size } of extents) {
    const rank = ranks.get(a) ?? -1;
    const goesOn =
      open !== undefined &&
      rank === open.rank + 1 &&
      b - a === open.b - open.a &&
      a + size - open.a <= LONGEST;
    if (!goesOn || open === undefined) {
      close();
      open = { a, b, end: a + size, rank, skip: [] };
      continue;
    }
    open.skip.push({ start: open.end - open.a, end: a - open.a });
    open.end = a + size;
    open.rank = rank;
  }
  close();
  return ranges;
}
