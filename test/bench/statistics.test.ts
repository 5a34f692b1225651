/** @module */
import test from 'ava';
import fc from 'fast-check';
import { summarize } from './statistics.ts';

test('the median of an odd number of samples is the one in the middle, in any order', t => {
  t.deepEqual(summarize([9, 1, 5]), { count: 3, min: 1, median: 5, p95: 9 });
});

test('the median of an even number of samples is between the two in the middle', t => {
  t.is(summarize([1, 100, 2, 4]).median, 3);
});

test('one sample is its own summary', t => {
  t.deepEqual(summarize([7]), { count: 1, min: 7, median: 7, p95: 7 });
});

test('p95 leaves out the largest of twenty samples, and not of nineteen', t => {
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  t.is(summarize(upTo(20)).p95, 19);
  t.is(summarize(upTo(19)).p95, 19);
  t.is(summarize(upTo(100)).p95, 95);
});

test('no samples have no summary', t => {
  t.throws(() => summarize([]), { instanceOf: RangeError });
});

test('half of all samples are at or below the median, 95 % at or below p95, all at or above the least', t => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), samples => {
      const { min, median, p95 } = summarize(samples);
      const share = (limit: number): number => samples.filter(x => x <= limit).length / samples.length;
      return share(median) >= 0.5 && share(p95) >= 0.95 && samples.every(x => x >= min);
    }),
  );
  t.pass();
});

test('the samples stay in their order', t => {
  const samples = [3, 1, 2];
  summarize(samples);
  t.deepEqual(samples, [3, 1, 2]);
});
