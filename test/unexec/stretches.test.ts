import test from 'ava';
import fc from 'fast-check';
import { firstEndingAfter, isWithin, joinStretches, type Stretch } from '../../unexec/stretches.ts';

const stretch = (start: number, end: number): Stretch => ({ start, end });

const joins: readonly (readonly [what: string, given: readonly Stretch[], joined: readonly Stretch[]])[] = [
  ['none', [], []],
  ['empty ones', [stretch(3, 3), stretch(5, 4)], []],
  ['those that touch', [stretch(8, 12), stretch(4, 8)], [stretch(4, 12)]],
  ['those that overlap', [stretch(0, 10), stretch(5, 7), stretch(9, 20)], [stretch(0, 20)]],
  ['the same twice', [stretch(1, 2), stretch(1, 2)], [stretch(1, 2)]],
  ['those apart', [stretch(9, 10), stretch(1, 8)], [stretch(1, 8), stretch(9, 10)]],
];
for (const [what, given, joined] of joins)
  test(`joinStretches() joins ${what}`, t => {
    t.deepEqual(joinStretches(given), joined);
  });

const SIZE = 40;
const some = fc.array(
  fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => stretch(Math.min(a, b), Math.max(a, b))),
);
const holds = (stretches: readonly Stretch[], at: number): boolean =>
  stretches.some(({ start, end }) => at >= start && at < end);

test('joined stretches ascend, are apart, and hold the same bytes', t => {
  fc.assert(
    fc.property(some, given => {
      const joined = joinStretches(given);
      for (let at = 0; at <= SIZE; at++) {
        t.is(isWithin(joined, at), holds(given, at));
        t.is(firstEndingAfter(joined, at), joined.filter(({ end }) => end <= at).length);
      }
      t.true(joined.every(({ start, end }, i) => end > start && start > (joined[i - 1]?.end ?? -1)));
    }),
  );
});
