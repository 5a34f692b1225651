import test from 'ava';
import fc from 'fast-check';
import { PF, PT, SHF, SHT } from '../../../formats/elf/constants.ts';
import { findSection } from '../../../formats/elf/find.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import {
  addSection,
  type ElfFile,
  type ElfSection,
  newElf,
  newSection,
  newSegment,
} from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { hello } from './support/hello.ts';

const GIB = 2 ** 30;
const progbits = (fields: Partial<ElfSection>): ElfSection =>
  newSection({ name: '.x', type: SHT.SHT_PROGBITS, ...fields });
/** Offset and size of every part, as text. */
const map = (file: ElfFile): string[] =>
  layoutElf(file).parts.map(
    ({ what, offset, size }) => `${offset.toString(16)} ${size.toString(16)} ${what}`,
  );

test('layoutElf() puts headers first, sections in order, their headers last', t => {
  t.deepEqual(map(hello()), [
    '0 40 the ELF header',
    '40 118 the program header table',
    '200 24 section 1 (.note.gnu.build-id)',
    '1000 c section 2 (.text)',
    '2000 10 section 3 (.data)',
    '2010 18 section 5 (.note.unexec)',
    '2028 78 section 6 (.symtab)',
    '20a0 25 section 7 (.strtab)',
    '20c5 4c section 8 (.shstrtab)',
    '2118 240 the section header table',
  ]);
});

test('layoutElf() puts small sections into the gap before external contents, the rest after them', t => {
  const file = newElf({ type: 2 });
  addSection(file, progbits({ name: '.image', offset: 0x2000, size: 3 * GIB }));
  addSection(file, progbits({ name: '.more', offset: 0x2000 + 3 * GIB, size: 2 * GIB }));
  addSection(file, progbits({ name: '.small', contents: new Uint8Array(0x100), align: 16 }));
  addSection(file, progbits({ name: '.large', contents: new Uint8Array(0x3000), align: 16 }));
  addSection(file, progbits({ name: '.after', contents: new Uint8Array(1) }));
  t.deepEqual(map(file), [
    '0 40 the ELF header',
    '40 100 section 3 (.small)',
    '2000 c0000000 section 1 (.image)',
    'c0002000 80000000 section 2 (.more)',
    '140002000 3000 section 4 (.large)',
    '140005000 1 section 5 (.after)',
    '140005001 2d section 6 (.shstrtab)',
    '140005030 1c0 the section header table',
  ]);
  t.is(layoutElf(file).size, 0x140005030 + 0x1c0);
});

test('layoutElf() places an external section that has no offset, and leaves its bytes out', t => {
  const file = newElf({ type: 2 });
  const index = addSection(file, progbits({ size: 3 * GIB, align: 0x1000 }));
  const { sections, parts } = layoutElf(file);
  t.is(sections[index]?.sh_offset, 0x1000n);
  t.like(parts[1], { offset: 0x1000, size: 3 * GIB, contents: undefined });
});

test('layoutElf() keeps every offset that is set, those of the tables too', t => {
  const file = hello();
  file.phoff = 0x5000;
  file.shoff = 0x6000;
  const text = findSection(file, '.text');
  if (text) text.offset = 0x3000;
  const { header, sections, segments } = layoutElf(file);
  t.like(header, { e_phoff: 0x5000n, e_shoff: 0x6000n });
  t.is(sections[2]?.sh_offset, 0x3000n);
  t.is(segments[1]?.p_offset, 0x3000n);
  t.is(readElf(elfBytes(file)).phoff, 0x5000);
});

test('layoutElf() places a loaded section at its address modulo the page', t => {
  const file = newElf({ type: 2 });
  const flags = SHF.SHF_ALLOC;
  const index = addSection(
    file,
    progbits({ flags, address: 0x401234n, align: 4, contents: new Uint8Array(8) }),
  );
  file.segments.push(newSegment({ type: PT.PT_LOAD, flags: PF.PF_R, align: 0x1000, sections: [index] }));
  t.is(layoutElf(file).sections[index]?.sh_offset, 0x234n);
});

test('layoutElf() gives SHT_NOBITS no room', t => {
  const file = newElf({ type: 2 });
  addSection(file, newSection({ name: '.bss', type: SHT.SHT_NOBITS, size: 100 * GIB, align: 32 }));
  t.true(layoutElf(file).size < 1000);
});

test('layoutElf() overlaps nothing and aligns everything, whatever is fixed and whatever is not', t => {
  const section = fc.record({
    size: fc.nat(5000),
    align: fc.nat(13).map(bits => 2 ** bits),
    // Fixed ones are far enough from each other and from the header.
    slot: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.uniqueArray(section, { maxLength: 20, selector: ({ slot }) => slot ?? {} }), sections => {
      const file = newElf({ type: 1 });
      for (const { size, align, slot } of sections) {
        const offset = slot === undefined ? undefined : slot * 0x2000;
        addSection(file, progbits({ align, offset, contents: new Uint8Array(size).fill(0xaa) }));
      }
      const { sections: shdrs, size } = layoutElf(file);
      for (const [i, { align, slot }] of sections.entries()) {
        const offset = shdrs[i + 1]?.sh_offset ?? -1n;
        if (slot === undefined) t.is(offset % BigInt(align), 0n);
        else t.is(offset, BigInt(slot) * 0x2000n);
      }
      const written = elfBytes(file);
      t.is(written.length, size);
      t.deepEqual(elfBytes(readElf(written)), written);
    }),
  );
});
