import test from 'ava';
import { build } from 'esbuild';
import fc from 'fast-check';
import { FormatError } from '../../formats/errors.ts';
import {
  encodeSleb,
  encodeUleb,
  MAX_LEB_SIZE,
  readSleb,
  readUleb,
  readUleb64,
  ulebSize,
  writeUleb,
} from '../../formats/leb128.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const u64 = fc.oneof(
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc.nat(64).map(bits => 2n ** BigInt(bits) - 1n),
  fc.nat(63).map(bits => 2n ** BigInt(bits)),
);
const i64 = u64.map(value => BigInt.asIntN(64, value));

// Of DWARF 5, tables 7.7 and 7.8, and of LLVM's LEB128Test.cpp; the 64-bit ones worked out by hand.
const unsigned: [bigint, string][] = [
  [0n, '00'],
  [2n, '02'],
  [127n, '7f'],
  [128n, '8001'],
  [129n, '8101'],
  [12857n, 'b964'],
  [0xffff_ffffn, 'ffffffff0f'],
  [0x1_0000_0000n, '8080808010'],
  [2n ** 63n, '80808080808080808001'],
  [2n ** 64n - 1n, 'ffffffffffffffffff01'],
  [2n ** 64n - 8n, 'f8ffffffffffffffff01'],
];
const signed: [bigint, string][] = [
  [2n, '02'],
  [-2n, '7e'],
  [127n, 'ff00'],
  [-127n, '817f'],
  [128n, '8001'],
  [-128n, '807f'],
  [63n, '3f'],
  [64n, 'c000'],
  [-64n, '40'],
  [-65n, 'bf7f'],
  [-(2n ** 31n), '8080808078'],
  [2n ** 31n, '8080808008'],
  [2n ** 63n - 1n, 'ffffffffffffffffff00'],
  [-(2n ** 63n), '8080808080808080807f'],
];

test('encodeUleb() and readUleb64() agree with the tables of DWARF', t => {
  for (const [value, hex] of unsigned) {
    t.deepEqual(encodeUleb(value), bytes(hex), hex);
    t.deepEqual(readUleb64(bytes(hex), 0), { value, next: hex.length / 2 }, hex);
  }
});

test('encodeSleb() and readSleb() agree with the tables of DWARF', t => {
  for (const [value, hex] of signed) {
    t.deepEqual(encodeSleb(value), bytes(hex), hex);
    t.deepEqual(readSleb(bytes(hex), 0), { value, next: hex.length / 2 }, hex);
  }
});

test('readUleb64(), readUleb() and readSleb() give back what was encoded, and where it ends', t => {
  fc.assert(
    fc.property(u64, i64, fc.maxSafeNat(), fc.uint8Array({ maxLength: 3 }), (u, i, n, around) => {
      const inside = (encoded: Uint8Array) => Uint8Array.of(...around, ...encoded, ...around);
      const at = around.length;
      t.deepEqual(readUleb64(inside(encodeUleb(u)), at), { value: u, next: at + encodeUleb(u).length });
      t.deepEqual(readSleb(inside(encodeSleb(i)), at), { value: i, next: at + encodeSleb(i).length });
      t.deepEqual(readUleb(inside(encodeUleb(n)), at), { value: n, next: at + encodeUleb(n).length });
      t.is(ulebSize(n), encodeUleb(n).length);
      const room = new Uint8Array(at + MAX_LEB_SIZE);
      t.deepEqual(room.subarray(at, writeUleb(room, at, n)), encodeUleb(n));
    }),
  );
});

test('numbers with superfluous bytes are read, up to ten bytes', t => {
  t.deepEqual(readUleb(bytes('85808000'), 0), { value: 5, next: 4 });
  t.deepEqual(readUleb(bytes('85808080808080808000'), 0), { value: 5, next: 10 });
  t.deepEqual(readSleb(bytes('feffffffffffffffff7f'), 0), { value: -2n, next: 10 });
});

const rejects = test.macro<[() => unknown, string]>({
  exec(t, act, code) {
    t.is(t.throws(act, { instanceOf: FormatError })?.code, code);
  },
  title: (title = '') => title,
});

test(
  'readUleb() rejects a number that goes on at the end',
  rejects,
  () => readUleb(bytes('8080'), 0),
  'LEB128_TRUNCATED',
);
test(
  'readUleb() rejects an offset past the end',
  rejects,
  () => readUleb(bytes('80'), 5),
  'LEB128_TRUNCATED',
);
test(
  'readUleb() rejects more than 2^53 - 1',
  rejects,
  () => readUleb(bytes('8080808080808010'), 0),
  'LEB128_RANGE',
);
test(
  'readUleb64() rejects 65 bits',
  rejects,
  () => readUleb64(bytes('ffffffffffffffffff02'), 0),
  'LEB128_RANGE',
);
test(
  'readUleb64() rejects eleven bytes',
  rejects,
  () => readUleb64(bytes('8080808080808080808000'), 0),
  'LEB128_RANGE',
);
test('readSleb() rejects 65 bits', rejects, () => readSleb(bytes('ffffffffffffffffff01'), 0), 'LEB128_RANGE');
test('readSleb() rejects no bytes', rejects, () => readSleb(bytes(''), 0), 'LEB128_TRUNCATED');
test('encodeUleb() rejects a negative number', rejects, () => encodeUleb(-1), 'LEB128_RANGE');
test('encodeUleb() rejects 2^64', rejects, () => encodeUleb(2n ** 64n), 'LEB128_RANGE');
test('encodeUleb() rejects a fraction', rejects, () => encodeUleb(0.5), 'LEB128_RANGE');
test('encodeUleb() rejects a number that is not exact', rejects, () => encodeUleb(2 ** 60), 'LEB128_RANGE');
test('encodeSleb() rejects 2^63', rejects, () => encodeSleb(2n ** 63n), 'LEB128_RANGE');

test('any bytes give a number or a FormatError', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 14 }), fc.nat(15), (data, at) => {
      for (const read of [readUleb, readUleb64, readSleb]) {
        try {
          t.true(read(data, at).next <= data.length);
        } catch (error) {
          t.true(error instanceof FormatError, String(error));
        }
      }
    }),
  );
});

test('the wrapper works in the bundle that a browser gets', async t => {
  // Bundlers take the package's other half, `module`, than Node does.
  const { outputFiles } = await build({
    entryPoints: ['formats/leb128.ts'],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
  });
  const url = `data:text/javascript,${encodeURIComponent(outputFiles[0]?.text ?? '')}`;
  const bundled: typeof import('../../formats/leb128.ts') = await import(url);
  for (const [value, hex] of unsigned) {
    t.deepEqual(bundled.encodeUleb(value), bytes(hex));
    t.is(bundled.readUleb64(bytes(hex), 0).value, value);
  }
  for (const [value, hex] of signed) {
    t.deepEqual(bundled.encodeSleb(value), bytes(hex));
    t.is(bundled.readSleb(bytes(hex), 0).value, value);
  }
});
