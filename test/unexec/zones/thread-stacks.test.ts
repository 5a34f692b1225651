import test from 'ava';
import type { Region } from '../../../unexec/image.ts';
import { boundedReader } from '../../../unexec/zones/bounded-reader.ts';
import { threadStackZone } from '../../../unexec/zones/thread-stacks.ts';
import { regionOf, syntheticView } from '../../support/synthetic-view.ts';

const guard = regionOf(0x10000n, 1, { read: false, write: false });
const rw = regionOf(0x11000n, 15);
/** Where `struct pthread` begins. */
const fs_base = 0x1f6c0n;

/** `stackblock` and its three followers where glibc has them on x86-64. */
const pthread = (stackblock: bigint, stackblock_size: bigint, guardsize: bigint, reported: bigint) =>
  Object.fromEntries(
    [stackblock, stackblock_size, guardsize, reported].map((word, i) => [
      Number(fs_base) + 0x690 + 8 * i,
      word,
    ]),
  );

const find = (regions: Region[], words: Record<string, bigint>, rsp: bigint) => {
  const view = syntheticView(regions, words);
  return threadStackZone(view, boundedReader(view), { stackPointer: rsp, threadPointer: fs_base });
};

const whole = {
  kind: 'thread-stack',
  base: 0x10000n,
  size: 0x10000,
  used: 0x1000,
  highWater: 0x10000,
  pageSize: 4096,
  isDefault: false,
} as const;

test('threadStackZone() takes the bounds from struct pthread', t => {
  const words = pthread(0x10000n, 0x10000n, 0x1000n, 0x1000n);
  t.deepEqual(find([guard, rw], words, 0x1f000n), whole);
});

test('threadStackZone() finds the struct pthread that ends at the thread pointer, as on aarch64', t => {
  const bounds = [0x12000n, 0xe000n, 0x1000n, 0x1000n];
  const words = Object.fromEntries(bounds.map((word, i) => [Number(fs_base) - 0x100 + 8 * i, word]));
  t.deepEqual(find([guard, rw], words, 0x1f000n), {
    ...whole,
    base: 0x12000n,
    size: 0xe000,
    highWater: 0xe000,
  });
});

test('threadStackZone() separates a stack from what the kernel has merged with it', t => {
  const words = pthread(0x10000n, 0x10000n, 0x1000n, 0x1000n);
  t.deepEqual(find([guard, regionOf(0x11000n, 100)], words, 0x1f000n), whole);
});

test('threadStackZone() does not know how deep a stack is while another one is in use', t => {
  const words = pthread(0x10000n, 0x10000n, 0x1000n, 0x1000n);
  t.deepEqual(find([guard, rw], words, 0x50000n), { ...whole, used: undefined });
});

test('threadStackZone() takes the mapping and its guard where there is no struct pthread of glibc', t => {
  t.deepEqual(find([guard, rw], {}, 0x1f000n), whole);
  const unguarded = { ...whole, base: 0x11000n, size: 0xf000, highWater: 0xf000 };
  t.deepEqual(find([rw], {}, 0x1f000n), unguarded);
});

test('threadStackZone() finds none where TLS and stack are not in one mapping', t => {
  t.is(find([guard, rw, regionOf(0x50000n, 4)], {}, 0x51000n), undefined);
  t.is(find([regionOf(0x50000n, 4)], {}, 0x51000n), undefined);
  t.is(find([guard, { ...rw, shared: true }], {}, 0x1f000n), undefined);
});

test('threadStackZone() does not believe bounds that do not fit the mapping', t => {
  const unbelievable = [
    pthread(0x10000n, 0x11000n, 0x1000n, 0x1000n), // ends beyond it
    pthread(0n, 0x20000n, 0x1000n, 0x1000n), // begins before it
    pthread(0x10000n, 0xf000n, 0x1000n, 0x1000n), // does not reach the TCB
    pthread(0x10000n, 0x10000n, 0x1000n, 0x2000n), // reports more guard than there is
    pthread(0x10000n, 0x10000n, 0x800n, 0x800n), // guards half a page
  ];
  for (const words of unbelievable) t.deepEqual(find([guard, rw], words, 0x1f000n), whole);
  t.is(find([guard, rw, regionOf(0x50000n, 4)], unbelievable[0] ?? {}, 0x51000n), undefined);
});
