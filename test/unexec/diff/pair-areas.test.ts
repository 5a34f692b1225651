import test from 'ava';
import { pairAreas } from '../../../unexec/diff/pair-areas.ts';
import type { Area } from '../../../unexec/diff/side.ts';

const area = (name: string, start: bigint, size = 0x1000, facts: Partial<Area> = {}): Area => ({
  ...{ name, kind: 'anonymous', start, size, inode: 0, isCompared: true, leavesPages: false },
  ...{ read: true, write: true, execute: false, shared: false },
  ...facts,
});

const startsOf = (a: readonly Area[], b: readonly Area[]) =>
  pairAreas(a, b, 'a').map(pair => [pair.a?.start, pair.b?.start]);

test('areas of one name are paired in their order when all have moved', t => {
  const a = [area('x', 0x1000n), area('y', 0x2000n), area('x', 0x3000n)];
  const b = [area('x', 0x51000n), area('y', 0x52000n), area('x', 0x53000n)];
  t.deepEqual(startsOf(a, b), [
    [0x1000n, 0x51000n],
    [0x2000n, 0x52000n],
    [0x3000n, 0x53000n],
  ]);
});

test('an area that is new does not shift the pairs of those of other sizes', t => {
  const a = [area('x', 0x1000n, 0x1000), area('x', 0x3000n, 0x3000)];
  const b = [area('x', 0x50000n, 0x8000), area('x', 0x61000n, 0x1000), area('x', 0x63000n, 0x3000)];
  t.deepEqual(startsOf(a, b), [
    [0x1000n, 0x61000n],
    [0x3000n, 0x63000n],
    [undefined, 0x50000n],
  ]);
});

test('an area at the same address is preferred to another one of the same name and size', t => {
  const a = [area('x', 0x3000n)];
  const b = [area('x', 0x1000n), area('x', 0x3000n)];
  t.deepEqual(startsOf(a, b), [
    [0x3000n, 0x3000n],
    [undefined, 0x1000n],
  ]);
});

test('an area whose protection changed is still the same, one of another kind is not', t => {
  const a = [area('x', 0x1000n), area('y', 0x2000n)];
  const b = [area('x', 0x8000n, 0x1000, { write: false }), area('y', 0x2000n, 0x1000, { kind: 'stack' })];
  t.deepEqual(startsOf(a, b), [
    [0x1000n, 0x8000n],
    [0x2000n, undefined],
    [undefined, 0x2000n],
  ]);
});

test('areas of one address space are cut alike and paired by their addresses, whatever their names are', t => {
  const stack = area('[stack]', 0x9000n, 0x1000, { kind: 'stack' });
  const a = [area('heap', 0x1000n, 0x4000), area('gone', 0x6000n), stack];
  const b = [area('image', 0x1000n, 0x1000), area('', 0x2000n, 0x4000), stack];
  t.deepEqual(startsOf(a, b), [
    [0x1000n, 0x1000n],
    [0x2000n, 0x2000n],
    [0x9000n, 0x9000n],
    [0x6000n, undefined],
    [undefined, 0x5000n],
  ]);
  const [, second] = pairAreas(a, b, 'a');
  t.like(second, { a: { name: 'heap', size: 0x3000 }, b: { name: 'heap', size: 0x3000 } });
  const [, other] = pairAreas(a, b, 'b');
  t.like(other, { a: { name: '' }, b: { name: '' } });
});

test('a long list of areas is cut in linear time', t => {
  const many = (size: number) =>
    Array.from({ length: 20_000 }, (_, i) => area('x', BigInt(i) * 0x4000n, size));
  const stack = area('[stack]', 1n << 40n, 0x1000, { kind: 'stack' });
  const pairs = pairAreas([...many(0x3000), stack], [...many(0x2000), stack], 'a');
  t.is(pairs.filter(({ a, b }) => a !== undefined && b !== undefined).length, 20_001);
  t.is(pairs.filter(({ b }) => b === undefined).length, 20_000);
});
