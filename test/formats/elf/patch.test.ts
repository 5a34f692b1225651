import test from 'ava';
import fc from 'fast-check';
import { SHT } from '../../../formats/elf/constants.ts';
import { findSection, sectionContents } from '../../../formats/elf/find.ts';
import { patchAddress, patchOffset } from '../../../formats/elf/patch.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { withoutSections } from './support/files.ts';
import { compiled } from './support/tools.ts';

const program = compiled('char data[5000] = "x"; int main(void) { return data[0]; }', []);
const data = findSection(readElf(program), '.data');
const place = { offset: data?.offset ?? 0, address: data?.address ?? 0n, size: 5000 };

test('patchOffset() changes these bytes of the file and no others, also those that it has changed before', t => {
  const patches = fc.array(fc.tuple(fc.nat(4900), fc.uint8Array({ minLength: 1, maxLength: 100 })), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(patches, fc.boolean(), (list, stripped) => {
      const original = stripped ? withoutSections(program) : program;
      const file = readElf(original);
      const expected = original.slice();
      for (const [at, bytes] of list) {
        patchOffset(file, place.offset + at, bytes);
        expected.set(bytes, place.offset + at);
      }
      t.true(Buffer.from(elfBytes(file)).equals(expected));
    }),
    { numRuns: 50 },
  );
});

test('patchAddress() finds the bytes by their address, and reading the section shows them', t => {
  const file = readElf(program);
  patchAddress(file, place.address + 40n, Uint8Array.of(1, 2, 3));
  const section = findSection(file, '.data');
  t.deepEqual(section && [...sectionContents(section).subarray(39, 44)], [0, 1, 2, 3, 0]);
});

test('patchAddress() refuses memory that the file has no bytes for', t => {
  const file = readElf(program);
  for (const address of [0x1000_0000n, place.address + 1_000_000n]) {
    const error = t.throws(() => patchAddress(file, address, new Uint8Array(2)), { instanceOf: FormatError });
    t.is(error?.code, 'ELF_NOT_IN_FILE');
  }
  const across = t.throws(() => patchOffset(file, program.length - 90, new Uint8Array(100)), {
    instanceOf: FormatError,
  });
  t.regex(across?.message ?? '', /100 bytes at 0x[0-9a-f]+ are in no sections from 0x[0-9a-f]+ on/);
});

test('patchOffset() changes bytes of neighbouring sections, as relocations have that were not combined', t => {
  const source = 'int x; int *const a = &x; int *b = &x; int main(void) { return *a + *b; }';
  const bytes = compiled(source, ['-Wl,-z,nocombreloc']);
  const file = readElf(bytes);
  const tables = file.sections.filter(({ type }) => type === SHT.SHT_RELA);
  const [first, second] = tables;
  t.is((first?.offset ?? 0) + Number(first?.size), second?.offset ?? 0);
  const offset = (second?.offset ?? 0) - 8;
  const patch = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  patchOffset(file, offset, patch);
  const expected = bytes.slice();
  expected.set(patch, offset);
  t.true(Buffer.from(elfBytes(file)).equals(expected));
});
