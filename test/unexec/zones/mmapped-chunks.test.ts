import test from 'ava';
import { boundedReader } from '../../../unexec/zones/bounded-reader.ts';
import type { MmapCount } from '../../../unexec/zones/malloc-par.ts';
import { mmappedChunks } from '../../../unexec/zones/mmapped-chunks.ts';
import type { Range } from '../../../unexec/zones/regions.ts';
import type { ZoneView } from '../../../unexec/zones.ts';
import { regionOf, syntheticView } from '../../support/synthetic-view.ts';

const IS_MMAPPED = 2n;

const find = (view: ZoneView, count?: MmapCount, arenas: Range[] = [], stacks: Range[] = []) =>
  mmappedChunks(view, boundedReader(view), count, arenas, stacks);

const range = (start: bigint, end: bigint): Range => ({ start, end });

test('mmappedChunks() walks chunks that share a region', t => {
  const view = syntheticView([regionOf(0x10000n, 16)], {
    65544: 0x2000n | IS_MMAPPED,
    73736: 0x5000n | IS_MMAPPED,
    94216: 0x9000n | IS_MMAPPED,
  });
  const chunks = [range(0x10000n, 0x12000n), range(0x12000n, 0x17000n), range(0x17000n, 0x20000n)];
  t.deepEqual(find(view), chunks);
  t.deepEqual(find(view, { chunks: 3, bytes: 0x10000n }), chunks);
});

test('mmappedChunks() knows the size that glibc 2.43 stores', t => {
  const view = syntheticView([regionOf(0x10000n, 3)], { 65544: 0x1ff0n | IS_MMAPPED });
  t.deepEqual(find(view), [range(0x10000n, 0x12000n)]);
});

test('mmappedChunks() finds a chunk in the middle of a region when malloc counts one more', t => {
  const view = syntheticView([regionOf(0x10000n, 16)], {
    65536: 0x1234n,
    81928: 0x3000n | IS_MMAPPED,
    98312: 0x2000n | IS_MMAPPED,
    // In the second chunk: its contents.
    102408: 0x1000n | IS_MMAPPED,
  });
  const chunks = [range(0x14000n, 0x17000n), range(0x18000n, 0x1a000n)];
  t.deepEqual(find(view), []);
  t.deepEqual(find(view, { chunks: 2, bytes: 0x5000n }), chunks);
});

test('mmappedChunks() does not believe what is in the middle of a region when it does not add up', t => {
  const view = syntheticView([regionOf(0x10000n, 16)], {
    65544: 0x1000n | IS_MMAPPED,
    81928: 0x3000n | IS_MMAPPED,
  });
  t.deepEqual(find(view, { chunks: 3, bytes: 0x8000n }), [range(0x10000n, 0x11000n)]);
  t.deepEqual(find(view, { chunks: 2, bytes: 0x5000n }), [range(0x10000n, 0x11000n)]);
});

test('mmappedChunks() finds nothing when malloc counts nothing', t => {
  const view = syntheticView([regionOf(0x10000n, 16)], { 65544: 0x2000n | IS_MMAPPED });
  t.deepEqual(find(view, { chunks: 0, bytes: 0n }), []);
});

test('mmappedChunks() looks behind a stack, and not into an arena', t => {
  const view = syntheticView([regionOf(0x10000n, 16)], {
    73736: 0x1000n | IS_MMAPPED,
    81928: 0x3000n | IS_MMAPPED,
  });
  const stack = range(0x10000n, 0x14000n);
  t.deepEqual(find(view, undefined, [], [stack]), [range(0x14000n, 0x17000n)]);
  t.deepEqual(find(view, { chunks: 1, bytes: 0x3000n }, [stack]), [range(0x14000n, 0x17000n)]);
});

const noChunks: readonly (readonly [what: string, prev_size: bigint, size: bigint])[] = [
  ['a size of 0', 0n, IS_MMAPPED],
  ['a size that reaches beyond the region', 0n, 0x11000n | IS_MMAPPED],
  ['a size that is no multiple of a page', 0n, 0x1800n | IS_MMAPPED],
  ['other flags', 0n, 0x2003n],
  ['no flag', 0n, 0x2000n],
  ['something before the size', 8n, 0x2000n | IS_MMAPPED],
  ['a size that wraps around', 0n, 0xffff_ffff_ffff_f000n | IS_MMAPPED],
];
for (const [what, prev_size, size] of noChunks) {
  test(`mmappedChunks() takes no region for a chunk that begins with ${what}`, t => {
    const view = syntheticView([regionOf(0x10000n, 16)], { 65536: prev_size, 65544: size });
    t.deepEqual(find(view), []);
    t.deepEqual(find(view, { chunks: 1, bytes: 0x2000n }), []);
  });
}

test('mmappedChunks() looks only into private anonymous memory that can be written to', t => {
  const header = { 65544: 0x2000n | IS_MMAPPED };
  const found = (facts: object) => find(syntheticView([regionOf(0x10000n, 16, facts)], header)).length;
  t.is(found({}), 1);
  t.is(found({ name: '[anon: glibc: malloc]' }), 1);
  t.is(found({ shared: true }), 0);
  t.is(found({ write: false }), 0);
  t.is(found({ inode: 5, name: '/dev/zero' }), 0);
  t.is(found({ name: '[stack]' }), 0);
});
