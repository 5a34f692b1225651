import test from 'ava';
import fc from 'fast-check';
import { bytesSource, findZeroPages, isZeroPage, PAGE_SIZE } from '../../../formats/describe/index.ts';

/** The bits once all pages have been looked at, and how often it could be interrupted. */
function scan(bytes: Uint8Array, maxSize?: number): { readonly bits: Uint8Array; readonly steps: number } {
  const scanning = findZeroPages(bytesSource(bytes), maxSize);
  for (let steps = 0; ; steps++) {
    const { done, value } = scanning.next();
    if (done) return { bits: value, steps };
  }
}

test('findZeroPages() finds the pages whose bytes are all zero, wherever the one byte is and the file begins', t => {
  const page = fc.tuple(fc.boolean(), fc.nat(PAGE_SIZE - 1));
  fc.assert(
    fc.property(fc.array(page, { maxLength: 20 }), fc.nat(PAGE_SIZE - 1), fc.nat(9), (pages, cut, shift) => {
      const size = Math.max(0, pages.length * PAGE_SIZE - cut);
      const bytes = new Uint8Array(shift + size).subarray(shift);
      for (const [i, [isZero, at]] of pages.entries()) if (!isZero) bytes[i * PAGE_SIZE + at] = 1;
      const { bits } = scan(bytes);
      for (let i = 0; i * PAGE_SIZE < size; i++) {
        const expected = bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE).every(byte => byte === 0);
        if (isZeroPage(bits, i) !== expected) throw new Error(`page ${i}`);
      }
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('findZeroPages() can be interrupted every few megabytes', t => {
  const { bits, steps } = scan(new Uint8Array(64 * 1024 * 1024));
  t.is(steps, 16);
  t.true(bits.every(byte => byte === 0xff));
});

test('findZeroPages() looks no further than it is told', t => {
  const { bits } = scan(new Uint8Array(4 * PAGE_SIZE), 2 * PAGE_SIZE);
  t.deepEqual(
    [0, 1, 2, 3].map(page => isZeroPage(bits, page)),
    [true, true, false, false],
  );
});
