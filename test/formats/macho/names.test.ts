/** Names of sixteen bytes. */
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeName, encodeName } from '../../../formats/macho/names.ts';

test('encodeName() gives the sixteen bytes that decodeName() was given', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), bytes => {
      t.deepEqual(encodeName(decodeName(bytes)), bytes);
    }),
  );
});

test('a name of sixteen characters has no NUL, a shorter one is filled with them', t => {
  t.is(decodeName(encodeName('__sixteen_chars_')), '__sixteen_chars_');
  t.deepEqual([...encodeName('ab').subarray(0, 3)], [97, 98, 0]);
  t.is(decodeName(new Uint8Array(16)), '');
});

test('names that do not fit are refused', t => {
  for (const name of ['__seventeen_chars', 'snow☃'])
    t.throws(() => encodeName(name), { instanceOf: FormatError, code: 'MACHO_BAD_NAME' });
});
