import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeFunctionStarts, encodeFunctionStarts } from '../../../formats/macho/function-starts.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

test('decodeFunctionStarts() gives back what encodeFunctionStarts() took', t => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 31 - 1 })), list => {
      const starts = list.sort((a, b) => a - b);
      const blob = encodeFunctionStarts(starts);
      t.is(blob.length % 8, 0);
      t.deepEqual([...decodeFunctionStarts(blob)], starts);
    }),
  );
});

test('decodeFunctionStarts() adds up the distances until a zero, or the end', t => {
  t.deepEqual([...decodeFunctionStarts(bytes('8020 10 04 00 10'))], [0x1000, 0x1010, 0x1014]);
  t.deepEqual([...decodeFunctionStarts(bytes('8020 10'))], [0x1000, 0x1010]);
  t.deepEqual([...decodeFunctionStarts(bytes(''))], []);
  t.is(encodeFunctionStarts([]).length, 0);
});

test('decodeFunctionStarts() rejects a distance that is truncated, and one beyond 2^53', t => {
  t.is(
    t.throws(() => decodeFunctionStarts(bytes('80')), { instanceOf: FormatError })?.code,
    'LEB128_TRUNCATED',
  );
  const far = bytes('ffffffffffffff0f 01');
  const error = t.throws(() => decodeFunctionStarts(far), {
    instanceOf: FormatError,
    message: /less than 2\^53/,
  });
  t.is(error?.code, 'MACHO_BAD_FUNCTION_STARTS');
});

test('encodeFunctionStarts() rejects starts that do not ascend', t => {
  for (const starts of [[0], [8, 8], [8, 4]]) {
    t.throws(() => encodeFunctionStarts(starts), { instanceOf: FormatError, message: /expected more than/ });
  }
});

test('any bytes give starts that ascend or a FormatError', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), data => {
      try {
        t.true(decodeFunctionStarts(data).every((start, i, all) => start > (all[i - 1] ?? 0)));
      } catch (error) {
        t.true(error instanceof FormatError, String(error));
      }
    }),
  );
});
