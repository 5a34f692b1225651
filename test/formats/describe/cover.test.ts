import test from 'ava';
import fc from 'fast-check';
import { type Claim, cover, stretchAt } from '../../../formats/describe/cover.ts';

/** What each position belongs to, found by looking at all claims. */
function byHand(claims: readonly Claim<number, number>[], end: number): (number | undefined)[] {
  return Array.from({ length: end }, (_, at) => {
    const there = claims
      .filter(claim => claim.start <= at && at < claim.end)
      .sort((a, b) => a.rank - b.rank || a.end - a.start - (b.end - b.start) || a.value - b.value);
    return there[0]?.value;
  });
}

test('cover() gives every position to the claim that comes first there', t => {
  const claim = fc.tuple(fc.nat(40), fc.nat(12), fc.nat(2));
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 12 }), list => {
      const claims = list.map(([start, size, rank], value) => ({ start, end: start + size, rank, value }));
      const owned = cover(claims);
      const expected = byHand(claims, 60);
      for (const [at, value] of expected.entries()) {
        const found = stretchAt(owned, at, ({ start, end }) => [start, end])?.claim.value;
        if (found !== value) throw new Error(`${at}: ${found}, expected ${value}`);
      }
      for (const [i, { start, end }] of owned.entries()) {
        const before = owned[i - 1];
        if (start >= end || (before && before.end > start)) throw new Error(`${start} to ${end}`);
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('cover() works with addresses beyond 2^53', t => {
  const high = 0xffff_ffff_8000_0000n;
  const claims = [
    { start: high, end: high + 0x3000n, rank: 1, value: 'segment' },
    { start: high + 1n, end: high + 2n, rank: 0, value: 'section' },
  ];
  t.deepEqual(
    cover(claims).map(({ start, end, claim }) => [start - high, end - high, claim.value]),
    [
      [0n, 1n, 'segment'],
      [1n, 2n, 'section'],
      [2n, 0x3000n, 'segment'],
    ],
  );
});
