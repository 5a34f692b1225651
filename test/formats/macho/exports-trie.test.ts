import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeExports, type ExportedSymbol, encodeExports } from '../../../formats/macho/exports-trie.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const byName = (a: ExportedSymbol, b: ExportedSymbol): number =>
  Buffer.compare(Buffer.from(a.symbol), Buffer.from(b.symbol));

const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
// Few letters, so that names share beginnings, some of several bytes, so that edges end within them.
const symbol = fc
  .array(fc.constantFrom('_', 'a', 'b', 'ab', 'é', 'è', '€', '𝄞', '𝄢'), { maxLength: 6 })
  .map(parts => parts.join(''));
const exported: fc.Arbitrary<ExportedSymbol> = fc.oneof(
  fc.record({ symbol, flags: fc.constantFrom(0, 1, 2, 4), offset: u64, other: fc.constant(undefined) }),
  fc.record({ symbol, flags: fc.constant(0x10), offset: u64, other: u64 }),
  fc.record({ symbol, flags: fc.constant(8), libOrdinal: fc.nat(300), importName: symbol }),
);

test('decodeExports() gives back what encodeExports() took, sorted by name', t => {
  const lists = fc.uniqueArray(exported, { selector: ({ symbol }) => symbol, maxLength: 20 });
  fc.assert(
    fc.property(lists, list => {
      const blob = encodeExports(list);
      t.is(blob.length % 8, 0);
      t.deepEqual(decodeExports(blob), list.sort(byName));
    }),
  );
});

test('encodeExports() finds offsets of two bytes and more', t => {
  const list = Array.from({ length: 3000 }, (_, i) => ({
    symbol: `_symbol${i}_of_${i * 7}`,
    flags: 0,
    offset: BigInt(i) * 0x1234n,
    other: undefined,
  }));
  t.deepEqual(decodeExports(encodeExports(list)), list.sort(byName));
});

// "The symbols exported by a dylib" of mach-o/loader.h, by hand: _a and _ab, at 0x1000 and 0x2000.
test('decodeExports() reads a trie made by hand', t => {
  const blob = bytes('00 01 5f6100 06   03 00 8020 01 6200 0e   03 00 8040 00');
  const symbol = { flags: 0, other: undefined };
  t.deepEqual(decodeExports(blob), [
    { symbol: '_a', offset: 0x1000n, ...symbol },
    { symbol: '_ab', offset: 0x2000n, ...symbol },
  ]);
  t.deepEqual(encodeExports(decodeExports(blob)).subarray(0, blob.length), blob);
  t.deepEqual(decodeExports(new Uint8Array(0)), []);
  t.is(encodeExports([]).length, 0);
});

const rejects = test.macro<[string, RegExp, string?]>({
  exec(t, blob, message, code = 'MACHO_BAD_EXPORTS') {
    t.is(t.throws(() => decodeExports(bytes(blob)), { instanceOf: FormatError, message })?.code, code);
  },
  title: (title = '') => `decodeExports() rejects ${title}`,
});
test('a node past the end', rejects, '00 01 6100 10', /at 0x10 have a node/);
test('a node that leads to itself', rejects, '00 01 6100 00', /expected a tree/);
test('a node with two parents', rejects, '00 02 6100 08 6200 08 02 0000 00', /expected a tree/);
test('a symbol smaller than its size', rejects, '04 0000 0000 00', /ends at 0x4, expected 0x5/);
test('a symbol larger than its size', rejects, '02 00 8001 00 00', /ends at 0x4, expected 0x3/);
test('an edge that does not end', rejects, '00 01 61', /expected a NUL/);
test('no number of children', rejects, '02 0000', /expected another byte/);
test('an offset that is truncated', rejects, '00 01 6100 80', /goes on at the end/, 'LEB128_TRUNCATED');

test('decodeExports() rejects names that are far longer than the trie', t => {
  // A chain of nodes that each have a symbol and one child: names of 1, 2, 3 and more letters.
  const parts: number[] = [];
  const uleb3 = (n: number) => [(n & 0x7f) | 0x80, ((n >> 7) & 0x7f) | 0x80, n >> 14];
  for (let i = 0; i < 20_000; i++) parts.push(2, 0, 0, 1, 0x61, 0, ...uleb3(9 * (i + 1)));
  t.throws(() => decodeExports(Uint8Array.from(parts)), { instanceOf: FormatError, message: /too long/ });
});

test('encodeExports() rejects a name that is there twice, and one with a NUL', t => {
  const symbol = { symbol: '_a', flags: 0, offset: 0n, other: undefined };
  t.throws(() => encodeExports([symbol, symbol]), { instanceOf: FormatError, message: /each name once/ });
  t.throws(() => encodeExports([{ ...symbol, symbol: 'a\0' }]), { instanceOf: FormatError });
});

test('any bytes give symbols or a FormatError', t => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(8), fc.nat(255)), { maxLength: 40 }), data => {
      try {
        decodeExports(Uint8Array.from(data));
        t.pass();
      } catch (error) {
        t.true(error instanceof FormatError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
