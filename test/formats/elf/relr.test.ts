import test from 'ava';
import fc from 'fast-check';
import { decodeRelr, encodeRelr } from '../../../formats/elf/relr.ts';
import { FormatError } from '../../../formats/errors.ts';
import { viewOf } from '../../../formats/struct.ts';

const table = (...words: readonly bigint[]): Uint8Array => new Uint8Array(BigUint64Array.from(words).buffer);

/** Ascending even addresses: dense and sparse, on words and between them. */
const anyAddresses = fc
  .tuple(
    fc.bigInt(0n, 2n ** 62n),
    fc.array(
      fc.oneof(
        fc.constant(8n),
        fc.bigInt(1n, 300n).map(n => 2n * n),
        fc.bigInt(1n, 2n ** 40n).map(n => 8n * n),
      ),
    ),
  )
  .map(([first, steps]) => {
    let address = 2n * first;
    return BigUint64Array.from(steps.map(step => (address += step)));
  });

test('decodeRelr() gives back the addresses that encodeRelr() took', t => {
  fc.assert(
    fc.property(anyAddresses, addresses => {
      const bytes = encodeRelr(addresses);
      t.deepEqual(decodeRelr(bytes), addresses);
      t.true(bytes.length <= 8 * addresses.length);
    }),
    { numRuns: 1000 },
  );
});

test('encodeRelr() puts the 63 words after an address into a bitmap, and those after them into the next one', t => {
  const words = (count: number): BigUint64Array =>
    BigUint64Array.from({ length: count }, (_, i) => 0x1000n + 8n * BigInt(i));
  t.deepEqual(encodeRelr(words(1)), table(0x1000n));
  t.deepEqual(encodeRelr(words(2)), table(0x1000n, 3n));
  t.deepEqual(encodeRelr(words(64)), table(0x1000n, 2n ** 64n - 1n));
  t.deepEqual(encodeRelr(words(65)), table(0x1000n, 2n ** 64n - 1n, 3n));
  t.deepEqual(encodeRelr(BigUint64Array.of(0x1000n, 0x1004n)), table(0x1000n, 0x1004n));
  t.deepEqual(encodeRelr(BigUint64Array.of()), table());
});

const refused = test.macro<[() => unknown, RegExp]>({
  exec(t, call, message) {
    const error = t.throws(call, { instanceOf: FormatError });
    t.is(error?.code, 'ELF_BAD_RELR');
    t.regex(error?.message ?? '', message);
  },
  title: (title = '') => title,
});

test(
  'encodeRelr() refuses an odd address',
  refused,
  () => encodeRelr(BigUint64Array.of(8n, 17n)),
  /hold 0x11, expected even/,
);
test(
  'encodeRelr() refuses an odd address first',
  refused,
  () => encodeRelr(BigUint64Array.of(17n)),
  /hold 0x11, expected even/,
);
test(
  'encodeRelr() refuses descending addresses',
  refused,
  () => encodeRelr(BigUint64Array.of(32n, 16n)),
  /0x10 after 0x20, expected ascending/,
);
test(
  'encodeRelr() refuses an address twice',
  refused,
  () => encodeRelr(BigUint64Array.of(16n, 24n, 24n)),
  /0x18 after 0x18/,
);
test(
  'decodeRelr() refuses a part of an entry',
  refused,
  () => decodeRelr(new Uint8Array(12)),
  /has 0xc bytes/,
);
test(
  'decodeRelr() refuses a bitmap at the start',
  refused,
  () => decodeRelr(table(3n)),
  /begins with a bitmap/,
);
test(
  'decodeRelr() refuses words past the end of the address space',
  refused,
  () => decodeRelr(table(2n ** 64n - 16n, 3n)),
  /past the end of the address space at byte 0x8/,
);
test(
  'decodeRelr() refuses more addresses than memory should hold',
  refused,
  () => {
    const bytes = new Uint8Array(10e6).fill(0xff);
    viewOf(bytes).setBigUint64(0, 8n, true);
    return decodeRelr(bytes);
  },
  /stands for 78749938 addresses, expected at most 67108864/,
);

test('random bytes give addresses or a FormatError', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        decodeRelr(bytes.subarray(0, bytes.length & ~7));
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('four million words are encoded and decoded in less than a second', t => {
  // Three of four words, as in a heap of small blocks.
  const addresses = BigUint64Array.from({ length: 4e6 }, (_, i) => BigInt(8 * Math.floor((4 * i) / 3)));
  const start = performance.now();
  const decoded = decodeRelr(encodeRelr(addresses));
  const milliseconds = performance.now() - start;
  t.log(`${milliseconds.toFixed()} ms`);
  t.deepEqual(Buffer.from(decoded.buffer).compare(Buffer.from(addresses.buffer)), 0);
  t.true(milliseconds < 1000);
});
