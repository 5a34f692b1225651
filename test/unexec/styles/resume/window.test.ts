import test from 'ava';
import fc from 'fast-check';
import { UnexecError } from '../../../../unexec/errors.ts';
import { type Arch, endOf, PAGE } from '../../../../unexec/image.ts';
import { ARGUMENTS_SIZE, chooseWindow, DATA_LIMIT } from '../../../../unexec/styles/resume/window.ts';
import { regionOf } from '../../../support/synthetic-view.ts';

const TOP = 0x7fff_ffff_f000n;

const distances: readonly [arch: Arch, distance: bigint][] = [
  ['x86_64', 0x1000n],
  ['aarch64', 0x1_0000n],
];

for (const [arch, distance] of distances) {
  test(`a window of ${arch} has room for arguments, vdso, code and the largest data, one after the other`, t => {
    const window = chooseWindow(arch, []);
    t.is(window.arguments, window.start);
    t.is(window.parking, window.arguments + ARGUMENTS_SIZE);
    t.true(window.code >= window.parking + 0x1_0000n);
    t.is(window.code % distance, 0n);
    t.is(window.data, window.code + distance);
    t.true(window.data + DATA_LIMIT <= window.end);
    t.true(ARGUMENTS_SIZE >= 6n << 20n);
  });
}

test('a window lies low in the address space, but not where mmap_min_addr forbids it', t => {
  t.is(chooseWindow('x86_64', []).start, 0x1_0000n);
});

test('a window never overlaps a region', t => {
  const region = fc
    .tuple(fc.bigInt({ min: 0x10n, max: TOP >> 12n }), fc.integer({ min: 1, max: 1 << 20 }))
    .map(([page, pages]) => regionOf(page << 12n, pages));
  const low = fc
    .tuple(fc.bigInt({ min: 0x10n, max: 0x1_0000n }), fc.integer({ min: 1, max: 100 }))
    .map(([page, pages]) => regionOf(page << 12n, pages));
  fc.assert(
    fc.property(fc.array(fc.oneof(region, low), { maxLength: 10 }), regions => {
      const { start, end } = chooseWindow('x86_64', regions);
      for (const region of regions) t.true(end <= region.start || endOf(region) <= start);
    }),
  );
});

test('a heap right below leaves no place for a window: it grows', t => {
  const place = 0x10_0000_0000n;
  const program = regionOf(0x40_0000n, 1);
  const below = (kind: 'heap' | 'anonymous') => regionOf(place - BigInt(PAGE), 1, { kind });
  t.is(chooseWindow('x86_64', [program, below('anonymous')]).start, place);
  t.true(chooseWindow('x86_64', [program, below('heap')]).start > place);
});

test('a process that leaves no room is refused', t => {
  const everything = { ...regionOf(0x1_0000n, 1), size: Number(TOP) - 0x1_0000 };
  t.throws(() => chooseWindow('x86_64', [everything]), { instanceOf: UnexecError, code: 'NO_WINDOW' });
});
