/**
 * Where the blocks go: behind each other in the order in which they were reached, each with its usable size in
 * the word before it, as glibc's chunks have it (so they take as much room as on the heap).
 *
 * Moving a block changes all bits of its address but the last four, and with them the words that lead to it. That
 * is wrong for a word that was a pointer once and has had one byte overwritten since: nothing tells it from a
 * pointer that leads somewhere else in the same block. Where programs do such things (unions without care), blocks
 * can be kept in the order of their addresses and at the same place within their pages, as they were on the heap.
 *
 * An alignment that the program has asked for is not recorded anywhere, so the one that a block had by itself
 * stays: up to a cache line for all, and up to the block's own size for larger ones.
 *
 * @module
 */
import { UnexecError } from '../../errors.ts';
import { TABLE_SIZE } from '../../frozen-allocations/functions.ts';
import { PAGE } from '../../image.ts';
import type { BlockPairs } from './pair-blocks.ts';

export interface BlockLayout {
  /** Of each pair: bytes from the segment's start to its block. */
  readonly offsets: Float64Array;
  /** Bytes of the segment: the table of the stubs, then the blocks. */
  readonly size: number;
}

const SIZE_WORD = 8;
const LEAST_ALIGNMENT = 16;
const CACHE_LINE = 64;
/** The code of a library and its data are at most 2 GiB apart. */
const MOST = 2 ** 30;

export type BlockOrder = 'depth-first' | 'address';

/** @throws UnexecError `TOO_MUCH_DATA` */
export function layOutBlocks(pairs: Pick<BlockPairs, 'count' | 'extent'>, order: BlockOrder): BlockLayout {
  const offsets = new Float64Array(pairs.count);
  const numbers = Array.from({ length: pairs.count }, (_, number) => number);
  if (order === 'address') numbers.sort((x, y) => pairs.extent(x).a - pairs.extent(y).a);
  let end = TABLE_SIZE;
  for (const number of numbers) {
    const { a, b, size } = pairs.extent(number);
    const least = end + SIZE_WORD;
    const align = Math.max(LEAST_ALIGNMENT, Math.min(alignmentOf(a), alignmentOf(b), largestFor(size)));
    const start =
      order === 'address' ? least + ((((a - least) % PAGE) + PAGE) % PAGE) : Math.ceil(least / align) * align;
    offsets[number] = start;
    end = start + size;
  }
  if (end > MOST) {
    throw new UnexecError('TOO_MUCH_DATA', `the blocks take ${end} bytes, expected at most ${MOST}`);
  }
  return { offsets, size: Math.ceil(end / LEAST_ALIGNMENT) * LEAST_ALIGNMENT };
}

const alignmentOf = (address: number): number => {
  let align = LEAST_ALIGNMENT;
  while (align < 4096 && address % (align * 2) === 0) align *= 2;
  return align;
};

const largestFor = (size: number): number => Math.max(CACHE_LINE, 2 ** Math.floor(Math.log2(size + 1)));
