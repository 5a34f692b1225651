import test from 'ava';
import { PF, PN_XNUM, PT, SHF, SHN, SHT } from '../../../formats/elf/constants.ts';
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
import { FormatError } from '../../../formats/errors.ts';
import { nameOf } from '../../../formats/names.ts';
import { hello } from './support/hello.ts';
import { onDisk, output } from './support/tools.ts';

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

test('layoutElf() gives segments the extent of their sections, in file and memory', t => {
  const segments = layoutElf(hello()).segments.map(({ p_type, p_offset, p_vaddr, p_filesz, p_memsz }) => [
    nameOf(PT, p_type),
    p_offset,
    p_vaddr,
    p_filesz,
    p_memsz,
  ]);
  t.deepEqual(segments, [
    ['PT_LOAD', 0x200n, 0x400200n, 36n, 36n],
    ['PT_LOAD', 0x1000n, 0x401000n, 12n, 12n],
    ['PT_LOAD', 0x2000n, 0x402000n, 16n, 80n],
    ['PT_NOTE', 0x200n, 0x400200n, 36n, 36n],
    ['PT_GNU_STACK', 0n, 0n, 0n, 0n],
  ]);
});

test('layoutElf() changes nothing in the file', t => {
  const file = hello();
  layoutElf(file);
  t.deepEqual(file, hello());
});

test('layoutElf() puts small sections into the gap before external contents and the rest after them', t => {
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

test('layoutElf() keeps every offset that is set, those of the tables too', t => {
  const file = hello();
  file.phoff = 0x5000;
  file.shoff = 0x6000;
  const text = findSection(file, '.text');
  if (text) text.offset = 0x3000;
  const { header, sections, segments } = layoutElf(file);
  t.is(header.e_phoff, 0x5000n);
  t.is(header.e_shoff, 0x6000n);
  t.is(sections[2]?.sh_offset, 0x3000n);
  t.is(segments[1]?.p_offset, 0x3000n);
  t.is(readElf(elfBytes(file)).phoff, 0x5000);
});

test('layoutElf() places a loaded section at its address modulo the page', t => {
  const file = newElf({ type: 2 });
  const index = addSection(
    file,
    progbits({ flags: SHF.SHF_ALLOC, address: 0x401234n, align: 4, contents: new Uint8Array(8) }),
  );
  file.segments.push(newSegment({ type: PT.PT_LOAD, flags: PF.PF_R, align: 0x1000, sections: [index] }));
  t.is(layoutElf(file).sections[index]?.sh_offset, 0x234n);
});

test('layoutElf() gives SHT_NOBITS no room', t => {
  const file = newElf({ type: 2 });
  addSection(file, newSection({ name: '.bss', type: SHT.SHT_NOBITS, size: 100 * GIB, align: 32 }));
  t.true(layoutElf(file).size < 1000);
});

test('layoutElf() makes no section table for the null section alone', t => {
  const { header, sections, size } = layoutElf(newElf({ type: 4 }));
  t.deepEqual(sections, []);
  t.like(header, { e_shoff: 0n, e_shnum: 0, e_shentsize: 0, e_shstrndx: 0, e_phoff: 0n, e_phentsize: 0 });
  t.is(size, 64);
});

test('layoutElf() fills a table of names that the caller added, at its place', t => {
  const file = newElf({ type: 1 });
  file.shstrndx = addSection(file, newSection({ name: '.names', type: SHT.SHT_STRTAB, offset: 0x400 }));
  const read = readElf(elfBytes(file));
  t.deepEqual(
    read.sections.map(({ name }) => name),
    ['', '.names'],
  );
  t.is(read.sections[1]?.offset, 0x400);
});

test('layoutElf() leaves the names of a file alone when one of its sections is renamed', t => {
  const before = readElf(elfBytes(hello()));
  const file = readElf(elfBytes(hello()));
  const data = findSection(file, '.data');
  if (data) data.name = '.a_longer_name';
  const after = readElf(elfBytes(file));
  t.deepEqual(
    after.sections.map(({ name }) => name),
    before.sections.map(({ name }) => (name === '.data' ? '.a_longer_name' : name)),
  );
  for (const [i, { name, nameOffset }] of after.sections.entries()) {
    if (name !== '.a_longer_name') t.is(nameOffset, before.sections[i]?.nameOffset);
  }
});

test('layoutElf() uses a name that is there for a section that is added', t => {
  const file = readElf(elfBytes(hello()));
  addSection(file, newSection({ name: '.data', type: SHT.SHT_NOBITS }));
  file.shoff = undefined;
  const { sections } = layoutElf(file);
  t.is(sections.at(-1)?.sh_name, sections[3]?.sh_name);
});

test('more than 65,000 sections are counted in section 0, as readelf reads them', t => {
  const file = newElf({ type: 1 });
  for (let i = 1; i < SHN.SHN_LORESERVE + 10; i++) addSection(file, progbits({ name: `.s${i % 1000}` }));
  const { header, sections } = layoutElf(file);
  t.like(header, { e_shnum: 0, e_shstrndx: SHN.SHN_XINDEX });
  t.like(sections[0], { sh_size: 0xff0bn, sh_link: 0xff0a });
  const read = readElf(elfBytes(file));
  t.is(read.sections.length, 0xff0b);
  t.is(read.shstrndx, 0xff0a);
  t.is(read.sections[0xff09]?.name, `.s${0xff09 % 1000}`);
  const seen = output('readelf', ['-hW', onDisk(elfBytes(file))]);
  t.regex(seen, /Number of section headers: +0 \(65291\)/);
  t.regex(seen, /string table index: +65535 \(65290\)/);
});

test('the header counts 65,279 sections itself', t => {
  const file = newElf({ type: 1 });
  for (let i = 1; i < SHN.SHN_LORESERVE - 2; i++) addSection(file, progbits({ name: '.s' }));
  t.is(layoutElf(file).header.e_shnum, SHN.SHN_LORESERVE - 1);
  t.is(readElf(elfBytes(file)).sections.length, SHN.SHN_LORESERVE - 1);
});

for (const count of [PN_XNUM - 1, PN_XNUM, 70_000]) {
  test(`${count} segments are counted where readelf looks`, t => {
    const file = newElf({ type: 4 });
    file.segments = Array.from({ length: count }, () => newSegment({ type: PT.PT_NULL, flags: 0 }));
    const written = elfBytes(file);
    t.is(layoutElf(file).header.e_phnum, Math.min(count, PN_XNUM));
    t.is(readElf(written).segments.length, count);
    const seen = output('readelf', ['-hW', onDisk(written)]);
    t.is(
      /Number of program headers: +(.*)/.exec(seen)?.[1],
      count < PN_XNUM ? `${count}` : `65535 (${count})`,
    );
  });
}

const refused = test.macro<[string, string, RegExp, (file: ElfFile) => unknown]>({
  exec(t, _title, code, message, spoil) {
    const file = hello();
    spoil(file);
    t.throws(() => layoutElf(file), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `layoutElf() refuses ${title}`,
});
test(
  refused,
  'two sections at one place',
  'ELF_OVERLAP',
  /section 9 \(\.x\) at 0x8008 to 0x8010 overlaps section 8 \(\.x\) at 0x8000 to 0x8010/,
  file => {
    addSection(file, progbits({ offset: 0x8000, contents: new Uint8Array(16) }));
    addSection(file, progbits({ offset: 0x8008, contents: new Uint8Array(8) }));
  },
);
test(refused, 'a section over external contents', 'ELF_OVERLAP', /section 9 .* overlaps section 8/, file => {
  addSection(file, progbits({ offset: 0x8000, size: GIB }));
  addSection(file, progbits({ offset: 0x9000, contents: new Uint8Array(1) }));
});
test(
  refused,
  'a section over the ELF header',
  'ELF_OVERLAP',
  /overlaps the ELF header at 0x0 to 0x40/,
  file => {
    addSection(file, progbits({ offset: 0x20, contents: new Uint8Array(1) }));
  },
);
test(
  refused,
  'a program header table that does not fit',
  'ELF_OVERLAP',
  /section 2 .* overlaps the program header table/,
  file => {
    file.phoff = 0xff8;
    const text = findSection(file, '.text');
    if (text) text.offset = 0x1000;
  },
);
test(
  refused,
  'a first section that is not the null section',
  'ELF_BAD_SECTION_ZERO',
  /section 0 is 0x7/,
  file => file.sections.shift(),
);
test(refused, 'a segment of no sections', 'ELF_BAD_SEGMENT', /segment 5 is made of no sections/, file => {
  file.segments.push(newSegment({ type: PT.PT_NOTE, flags: 4, sections: [] }));
});
test(
  refused,
  'a segment of a section that is not there',
  'ELF_BAD_SEGMENT',
  /segment 5 is made of section 99/,
  file => {
    file.segments.push(newSegment({ type: PT.PT_NOTE, flags: 4, sections: [1, 99] }));
  },
);
test(
  refused,
  'a segment whose sections are apart in memory but not in the file',
  'ELF_BAD_SEGMENT',
  /segment 2 has section 8 \(\.x\) at/,
  file => {
    const far = addSection(
      file,
      progbits({ flags: SHF.SHF_ALLOC, address: 0x500000n, contents: new Uint8Array(1) }),
    );
    file.segments[2] = newSegment({ type: PT.PT_LOAD, flags: 6, align: 0x1000, sections: [3, far] });
  },
);
test(
  refused,
  'names where shstrndx says that there are none',
  'ELF_BAD_SHSTRNDX',
  /section ".note.gnu.build-id" has a name but shstrndx is 0/,
  file => {
    file.shstrndx = 0;
  },
);
test(
  refused,
  'more segments than e_phnum holds without a section 0',
  'ELF_BAD_PHNUM',
  /65535 segments, expected a section 0/,
  file => {
    file.sections = [];
    file.segments = Array.from({ length: PN_XNUM }, () => newSegment({ type: PT.PT_NULL, flags: 0 }));
  },
);

test('layoutElf() moves a table of names that grew behind what follows it', t => {
  const file = readElf(elfBytes(hello()));
  addSection(file, newSection({ name: '.new', type: SHT.SHT_NOBITS }));
  const written = readElf(elfBytes(file));
  t.is(written.sections.at(-1)?.name, '.new');
  t.is(written.sections[8]?.name, '.shstrtab');
  t.is(written.sections[8]?.offset, (file.shoff ?? 0) + 64 * 10);
});
