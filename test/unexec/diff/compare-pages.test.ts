import test from 'ava';
import { comparePages } from '../../../unexec/diff/compare-pages.ts';
import type { Area } from '../../../unexec/diff/side.ts';
import { memoryOf } from '../../support/synthetic-memory.ts';

const PAGE = 4096;

/** Pages by letters: `.` is zero, anything else is filled with that letter. */
function sideOf(start: bigint, pages: string, facts: Partial<Area> = {}) {
  const bytes = Buffer.concat([...pages].map(c => Buffer.alloc(PAGE, c === '.' ? 0 : c)));
  const image = memoryOf([{ start, bytes }]);
  const [region] = image.regions;
  if (region === undefined) throw new Error('no region');
  const area: Area = { ...region, kind: 'anonymous', isCompared: true, leavesPages: false, ...facts };
  return { area, memory: image.memory };
}

const compare = (a: ReturnType<typeof sideOf> | undefined, b: ReturnType<typeof sideOf> | undefined) =>
  comparePages(
    { a: a?.area, b: b?.area },
    { memory: (a ?? sideOf(0n, '')).memory },
    { memory: (b ?? sideOf(0n, '')).memory },
    () => {},
  );

test('comparePages() tells pages that are the same, changed, zero, or only in one', t => {
  const { pages, changed, onlyA, onlyB } = compare(sideOf(0x10000n, 'ab..ab.'), sideOf(0x90000n, 'ab..c.d'));
  t.deepEqual(pages, { same: 2, changed: 1, zero: 2, onlyA: 1, onlyB: 1, left: 0 });
  t.deepEqual(changed, [{ start: 4 * PAGE, end: 5 * PAGE }]);
  t.deepEqual(onlyA, [{ start: 0x15000n, size: PAGE }]);
  t.deepEqual(onlyB, [{ start: 0x96000n, size: PAGE }]);
});

test('what the longer area has beyond the other is only in that one, but for its zero pages', t => {
  const longer = compare(sideOf(0x10000n, 'abc.d'), sideOf(0x90000n, 'ab'));
  t.deepEqual(longer.pages, { same: 2, changed: 0, zero: 1, onlyA: 2, onlyB: 0, left: 0 });
  t.deepEqual(longer.onlyA, [
    { start: 0x12000n, size: PAGE },
    { start: 0x14000n, size: PAGE },
  ]);
  const alone = compare(undefined, sideOf(0x90000n, 'a.bb'));
  t.deepEqual(alone.pages, { same: 0, changed: 0, zero: 1, onlyA: 0, onlyB: 3, left: 0 });
});

test('stacks are compared from their ends', t => {
  const stack = { kind: 'stack' };
  const { pages, common } = compare(sideOf(0x10000n, '..ab', stack), sideOf(0x90000n, 'ab', stack));
  t.deepEqual(pages, { same: 2, changed: 0, zero: 2, onlyA: 0, onlyB: 0, left: 0 });
  t.deepEqual(common, { startA: 0x12000n, startB: 0x90000n, size: 2 * PAGE });
});

test('what has no contents to compare is not compared', t => {
  const { pages } = compare(sideOf(0x10000n, 'ab', { isCompared: false }), sideOf(0x90000n, 'cd'));
  t.deepEqual(pages, { same: 0, changed: 0, zero: 0, onlyA: 0, onlyB: 0, left: 0 });
});

test('areas of many MiB are compared whole', t => {
  const filled = 'a'.repeat(600);
  const { pages } = compare(sideOf(0x1000000n, `${filled}b`), sideOf(0x9000000n, `${filled}c`));
  t.deepEqual(pages, { same: 600, changed: 1, zero: 0, onlyA: 0, onlyB: 0, left: 0 });
});

test('pages that one of them leaves in another file are not compared', t => {
  const a = sideOf(0x10000n, 'abcd');
  const thin = sideOf(0x90000n, 'axxx', { leavesPages: true });
  const memory = { ...thin.memory, touched: () => [{ first: 0, count: 1 }] };
  const { pages } = compare(a, { ...thin, memory });
  t.deepEqual(pages, { same: 1, changed: 0, zero: 0, onlyA: 0, onlyB: 0, left: 3 });
  const alone = compare(undefined, { ...thin, memory });
  t.deepEqual(alone.pages, { same: 0, changed: 0, zero: 0, onlyA: 0, onlyB: 1, left: 3 });
});
