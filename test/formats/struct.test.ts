import test from 'ava';
import fc from 'fast-check';
import { FormatError, hex, toNumber } from '../../formats/errors.ts';
import { array, bytes, i32, i64, struct, u8, u16, u32, u64, viewOf } from '../../formats/struct.ts';

const Inner = struct({ a: u16, b: i32 });
const Outer = struct({ tag: u8, name: bytes(5), inner: Inner, words: array(u64, 2), delta: i64, last: u32 });

test('struct() puts fields one after another, without padding', t => {
  t.is(Outer.size, 1 + 5 + 6 + 16 + 8 + 4);
  t.deepEqual(Outer.offsets, { tag: 0, name: 1, inner: 6, words: 12, delta: 28, last: 36 });
});

test('encode() of what read() gave is the same bytes, for any bytes and either byte order', t => {
  const image = fc.uint8Array({ minLength: Outer.size, maxLength: Outer.size });
  fc.assert(
    fc.property(image, fc.boolean(), (raw, le) => {
      t.deepEqual(Outer.encode(Outer.read(viewOf(raw), 0, le), le), raw);
    }),
  );
});

test('write() puts a struct at its offset and touches nothing around it', t => {
  const target = new Uint8Array(10).fill(0xee);
  Inner.write(viewOf(target), 2, { a: 0x1234, b: -2 }, true);
  t.deepEqual([...target], [0xee, 0xee, 0x34, 0x12, 0xfe, 0xff, 0xff, 0xff, 0xee, 0xee]);
});

test('bytes() pads a shorter value with zeros, cuts a longer one, and copies', t => {
  const field = bytes(3);
  const target = Uint8Array.of(9, 9, 9, 9);
  field.set(viewOf(target), 0, Uint8Array.of(1), true);
  t.deepEqual([...target], [1, 0, 0, 9]);
  field.set(viewOf(target), 0, Uint8Array.of(1, 2, 3, 4), true);
  t.deepEqual([...target], [1, 2, 3, 9]);
  const copy = field.get(viewOf(target), 0, true);
  target.fill(0);
  t.deepEqual([...copy], [1, 2, 3]);
});

test('viewOf() sees only the bytes of a subarray', t => {
  const view = viewOf(Uint8Array.of(1, 2, 3, 4).subarray(1, 3));
  t.is(view.byteLength, 2);
  t.is(view.getUint8(0), 2);
});

test('toNumber() refuses what a double does not hold exactly', t => {
  t.is(toNumber('x', 2n ** 53n - 1n), Number.MAX_SAFE_INTEGER);
  t.throws(() => toNumber('p_offset', 2n ** 53n), {
    instanceOf: FormatError,
    code: 'OUT_OF_RANGE',
    message: 'p_offset is 0x20000000000000, beyond 2^53 - 1',
  });
  t.throws(() => toNumber('x', -1n), { instanceOf: FormatError });
});

test('hex() writes numbers and bigints alike', t => {
  t.is(hex(255), '0xff');
  t.is(hex(2n ** 64n - 1n), '0xffffffffffffffff');
});
