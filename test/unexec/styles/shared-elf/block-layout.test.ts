import test from 'ava';
import { UnexecError } from '../../../../unexec/errors.ts';
import { layOutBlocks } from '../../../../unexec/styles/shared-elf/block-layout.ts';
import type { BlockPairs } from '../../../../unexec/styles/shared-elf/pair-blocks.ts';

type Block = readonly [address: number, size: number];

const pairsOf = (blocks: readonly Block[]): Pick<BlockPairs, 'count' | 'extent'> => ({
  count: blocks.length,
  extent: number => {
    const [a = 0, size = 0] = blocks[number] ?? [];
    return { a, b: a + 0x1000_0000, size };
  },
});

const HEAP = 0x5555_0000_0000;

test('blocks lie behind each other as chunks do, each with room for its size', t => {
  const { offsets, size } = layOutBlocks(
    pairsOf([
      [HEAP + 0x30, 24],
      [HEAP + 0x10, 24],
      [HEAP + 0x50, 40],
    ]),
    'depth-first',
  );
  const [first = 0, second = 0, third = 0] = offsets;
  t.deepEqual([second - first, third - second], [32, 32]);
  t.is(first % 16, 0);
  t.true(size >= third + 40);
});

test('a block keeps its alignment up to a cache line, and a large one up to its size', t => {
  const { offsets } = layOutBlocks(
    pairsOf([
      [HEAP + 0x10, 24],
      [HEAP + 0x1040, 40],
      [HEAP + 0x3000, 8200],
      [HEAP + 0x7000, 24],
    ]),
    'depth-first',
  );
  t.is((offsets[1] ?? 1) % 64, 0);
  t.is((offsets[2] ?? 1) % 4096, 0);
  t.not((offsets[3] ?? 0) % 4096, 0);
});

test('in the order of addresses, every block is at its place within the page', t => {
  const blocks: Block[] = [
    [HEAP + 0x5230, 24],
    [HEAP + 0x1010, 5000],
    [HEAP + 0x5210, 24],
  ];
  const { offsets, size } = layOutBlocks(pairsOf(blocks), 'address');
  for (const [i, [address]] of blocks.entries()) t.is((offsets[i] ?? 0) % 4096, address % 4096);
  t.true((offsets[1] ?? 0) < (offsets[2] ?? 0) && (offsets[2] ?? 0) < (offsets[0] ?? 0));
  t.true(size <= 0x6000);
});

test('blocks that code could not reach are refused', t => {
  const error = t.throws(() => layOutBlocks(pairsOf([[HEAP, 2 ** 31]]), 'depth-first'), {
    instanceOf: UnexecError,
  });
  t.is(error?.code, 'TOO_MUCH_DATA');
});
