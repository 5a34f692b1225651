import test from 'ava';
import type { MemoryImage, MemoryRegion } from '../../../unexec/image.ts';
import { CHUNK, touchedStretches } from '../../../unexec/pointers/stretches.ts';

const PAGE = 4096;
const BASE = 0x1000_0000n;

/** One region, all of which was touched. */
function imageOf(size: number): Pick<MemoryImage, 'regions' | 'memory'> {
  const region: MemoryRegion = {
    start: BASE,
    size,
    read: true,
    write: true,
    execute: false,
    shared: false,
    name: '',
    inode: 0,
  };
  const memory = {
    read: (_: bigint, into: Uint8Array) => void into.fill(0),
    *touched() {
      yield { first: 0, count: size / PAGE };
    },
  };
  return { regions: [region], memory };
}

const stretchesOf = (
  size: number,
  skip: readonly { start: number; end: number }[],
  start: bigint = BASE,
): (readonly [number, number])[] =>
  touchedStretches([{ image: imageOf(size), start }], size, skip).map(s => [s.start, s.end]);

test('touchedStretches() leaves out long parts that are skipped, and only these', t => {
  const size = 16 * CHUNK;
  t.deepEqual(stretchesOf(size, []), [[0, size]]);
  t.deepEqual(stretchesOf(size, [{ start: 8, end: CHUNK }]), [[0, size]]);
  t.deepEqual(stretchesOf(size, [{ start: 4096, end: size }]), [[0, 4096]]);
  t.deepEqual(stretchesOf(size, [{ start: 0, end: size }]), []);
  const two = [
    { start: 8 * CHUNK, end: 10 * CHUNK },
    { start: 100, end: 2 * CHUNK },
  ];
  t.deepEqual(stretchesOf(size, two), [
    [0, 100],
    [2 * CHUNK, 8 * CHUNK],
    [10 * CHUNK, size],
  ]);
});

test('touchedStretches() goes on at a whole word behind what is skipped', t => {
  const size = 4 * CHUNK;
  const skip = [{ start: 0, end: 2 * CHUNK + 5 }];
  t.deepEqual(stretchesOf(size, skip), [[2 * CHUNK, size]]);
  // The words are those of addresses: the range begins in the middle of one.
  t.deepEqual(stretchesOf(size, skip, BASE + 4n).at(-1), [2 * CHUNK + 4, size - 4]);
});

test('touchedStretches() takes no longer for 64 GiB that are skipped', t => {
  const size = 64 * 2 ** 30;
  t.deepEqual(stretchesOf(size, [{ start: PAGE, end: size }]), [[0, PAGE]]);
});
