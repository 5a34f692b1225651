import test from 'ava';
import fc from 'fast-check';
import { nonZeroPages } from '../../unexec/elide.ts';
import { PAGE } from '../../unexec/image.ts';

/** What nonZeroPages() is to find, by the definition: page by page, byte by byte. */
function slowly(chunk: Uint8Array): number[] {
  const pages: number[] = [];
  for (let page = 0; page < chunk.length / PAGE; page++) {
    if (chunk.subarray(page * PAGE, (page + 1) * PAGE).some(byte => byte !== 0)) pages.push(page);
  }
  return pages;
}

test('nonZeroPages() finds exactly the pages that are not zero, as ranges that do not touch', t => {
  const place = fc.tuple(fc.nat({ max: 23 * PAGE - 1 }), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(fc.nat({ max: 23 }), fc.array(place, { maxLength: 30 }), (pages, places) => {
      const chunk = new Uint8Array(pages * PAGE);
      for (const [at, byte] of places) if (at < chunk.length) chunk[at] = byte;
      const ranges = nonZeroPages(chunk);
      const found = ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
      t.deepEqual(found, slowly(chunk));
      for (const [i, { first, count }] of ranges.entries()) {
        t.true(count > 0);
        const next = ranges[i + 1];
        t.true(next === undefined || next.first > first + count);
      }
    }),
  );
});

test('nonZeroPages() sees the first and the last byte of a page', t => {
  for (const at of [PAGE, 2 * PAGE - 1]) {
    const chunk = new Uint8Array(3 * PAGE);
    chunk[at] = 1;
    t.deepEqual(nonZeroPages(chunk), [{ first: 1, count: 1 }]);
  }
});

test('nonZeroPages() looks at the given part of a larger buffer only', t => {
  const large = new Uint8Array(4 * PAGE).fill(1);
  large.fill(0, PAGE, 3 * PAGE);
  t.deepEqual(nonZeroPages(large.subarray(PAGE, 3 * PAGE)), []);
  t.deepEqual(nonZeroPages(large.subarray(2 * PAGE)), [{ first: 1, count: 1 }]);
});
