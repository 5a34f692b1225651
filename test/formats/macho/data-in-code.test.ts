import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeDataInCode, encodeDataInCode } from '../../../formats/macho/data-in-code.ts';

test('decodeDataInCode() gives back what encodeDataInCode() took', t => {
  const entry = fc.record({ offset: fc.nat(2 ** 32 - 1), length: fc.nat(0xffff), kind: fc.nat(0xffff) });
  fc.assert(
    fc.property(fc.array(entry), list => t.deepEqual(decodeDataInCode(encodeDataInCode(list)), list)),
  );
});

test('decodeDataInCode() reads offset, length and kind', t => {
  const blob = Uint8Array.from(Buffer.from('7856341202000100', 'hex'));
  t.deepEqual(decodeDataInCode(blob), [{ offset: 0x12345678, length: 2, kind: 1 }]);
});

test('decodeDataInCode() rejects half an entry', t => {
  const error = t.throws(() => decodeDataInCode(new Uint8Array(12)), { instanceOf: FormatError });
  t.is(error?.message, 'Mach-O: the table of data in code has 12 bytes, expected a multiple of 8');
});
