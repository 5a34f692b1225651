import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../formats/errors.ts';
import { ELF, type LayoutPart } from '../../formats/parts.ts';
import { partsSource } from '../../formats/parts-source.ts';
import { bytesOf } from '../../formats/pieces.ts';
import { bytesSource } from '../../formats/source.ts';

/** Parts of random sizes with gaps between them, in memory and from sources. */
const anyParts = fc
  .array(fc.tuple(fc.nat(5), fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.boolean()))
  .map(list => {
    let offset = 0;
    return list.map(([gap, bytes, inMemory]): LayoutPart => {
      const part = {
        offset: offset + gap,
        size: bytes.length,
        what: 'a part',
        contents: inMemory ? bytes : bytesSource(bytes),
      };
      offset = part.offset + part.size;
      return part;
    });
  });

test('partsSource() reads at any place what writing the parts would give there', t => {
  fc.assert(
    fc.property(anyParts, fc.nat(), fc.nat(), fc.nat(30), (parts, a, b, more) => {
      const last = parts.at(-1);
      const layout = { parts, size: last ? last.offset + last.size : 0 };
      const source = partsSource(ELF, layout, layout.size + more);
      const whole = new Uint8Array(layout.size + more);
      whole.set(bytesOf(ELF, layout));
      const offset = a % (source.size + 1);
      const length = b % (source.size - offset + 1);
      t.deepEqual(source.read(offset, length), whole.slice(offset, offset + length));
    }),
    { numRuns: 500 },
  );
});

test('partsSource() refuses to read past its end, and what the caller is to write', t => {
  const parts = [{ offset: 4, size: 4, what: 'section 3', contents: undefined }];
  const source = partsSource(ELF, { parts, size: 8 });
  t.deepEqual(source.read(0, 4), new Uint8Array(4));
  t.is(t.throws(() => source.read(4, 5), { instanceOf: FormatError })?.code, 'OUT_OF_RANGE');
  const error = t.throws(() => source.read(3, 2), { instanceOf: FormatError });
  t.is(error?.code, 'ELF_EXTERNAL');
  t.is(error?.message, 'ELF: section 3 at 0x4 has no contents, expected some to be read');
});
