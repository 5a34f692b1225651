import test from 'ava';
import { FormatError } from '../../formats/errors.ts';
import { bytesSource, checkRange, SourceSlice } from '../../formats/source.ts';

const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);

test('bytesSource() reads stretches of its bytes, the empty one at the end too', t => {
  const source = bytesSource(bytes);
  t.is(source.size, 16);
  t.deepEqual([...source.read(3, 2)], [3, 4]);
  t.deepEqual([...source.read(16, 0)], []);
});

const outside = test.macro<[number, number]>({
  exec(t, offset, length) {
    const expected = { instanceOf: FormatError, code: 'OUT_OF_RANGE', message: /within 0x10 bytes/ };
    t.throws(() => bytesSource(bytes).read(offset, length), expected);
    t.throws(() => new SourceSlice(bytesSource(bytes), offset, length), expected);
  },
  title: (_, offset, length) => `reading ${length} bytes at ${offset} of 16 is a FormatError`,
});
test(outside, 16, 1);
test(outside, 0, 17);
test(outside, 15, 2);
test(outside, -1, 1);
test(outside, 4, -1);
test(outside, 2 ** 53, 2 ** 53);
test(outside, 1, Number.NaN);

test('checkRange() is not fooled by sums that round', t => {
  t.throws(() => checkRange(2 ** 53 - 1, 2 ** 53 - 1, 1), { instanceOf: FormatError });
  t.notThrows(() => checkRange(2 ** 53 - 1, 2 ** 53 - 1, 0));
});

test('SourceSlice reads relative to its beginning and not past its end', t => {
  const slice = new SourceSlice(bytesSource(bytes), 4, 8);
  t.deepEqual([...slice.read(1, 3)], [5, 6, 7]);
  t.throws(() => slice.read(7, 2), { instanceOf: FormatError, code: 'OUT_OF_RANGE' });
  t.deepEqual([...new SourceSlice(slice, 2, 2).read(0, 2)], [6, 7]);
});

test('SourceSlice refuses to read more than a GiB at once', t => {
  const endless = { size: 2 ** 40, read: () => bytes };
  const slice = new SourceSlice(endless, 16, 2 ** 39);
  t.is(slice.read(0, 2 ** 30), bytes);
  t.throws(() => slice.read(2, 2 ** 30 + 1), {
    instanceOf: FormatError,
    code: 'TOO_LARGE',
    message: 'read of 0x40000001 bytes at 0x12, expected at most 0x40000000 at once',
  });
});
