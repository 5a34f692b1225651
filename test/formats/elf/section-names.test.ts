import test from 'ava';
import { SHN, SHT } from '../../../formats/elf/constants.ts';
import { findSection } from '../../../formats/elf/find.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import { addSection, newElf, newSection } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { hello } from './support/hello.ts';

const namesOf = (bytes: Uint8Array): string[] => readElf(bytes).sections.map(({ name }) => name);

test('layoutElf() adds a section for the names where the file has none', t => {
  t.deepEqual(namesOf(elfBytes(hello())), [...hello().sections.map(({ name }) => name), '.shstrtab']);
});

test('layoutElf() makes no section table for the null section alone', t => {
  const { header, sections, size } = layoutElf(newElf({ type: 4 }));
  t.deepEqual(sections, []);
  t.like(header, { e_shoff: 0n, e_shnum: 0, e_shentsize: 0, e_shstrndx: 0, e_phoff: 0n, e_phentsize: 0 });
  t.is(size, 64);
});

test('layoutElf() fills a section for the names that the caller added, at its place', t => {
  const file = newElf({ type: 1 });
  file.shstrndx = addSection(file, newSection({ name: '.names', type: SHT.SHT_STRTAB, offset: 0x400 }));
  t.deepEqual(namesOf(elfBytes(file)), ['', '.names']);
  t.is(readElf(elfBytes(file)).sections[1]?.offset, 0x400);
});

test('layoutElf() leaves the other names alone when one section is renamed', t => {
  const before = layoutElf(readElf(elfBytes(hello()))).sections;
  const file = readElf(elfBytes(hello()));
  const data = findSection(file, '.data');
  if (data) data.name = '.a_longer_name';
  const after = layoutElf(file).sections;
  const changed = after.flatMap(({ sh_name }, i) => (sh_name === before[i]?.sh_name ? [] : [i]));
  t.deepEqual(changed, [3]);
  t.is(namesOf(elfBytes(file))[3], '.a_longer_name');
});

test('layoutElf() uses a name that is there for a section that is added', t => {
  const file = readElf(elfBytes(hello()));
  addSection(file, newSection({ name: '.data', type: SHT.SHT_NOBITS }));
  const { sections } = layoutElf(file);
  t.is(sections.at(-1)?.sh_name, sections[3]?.sh_name);
  t.is(sections[8]?.sh_offset, BigInt(file.sections[8]?.offset ?? 0));
});

test('layoutElf() moves names that grew behind what follows them', t => {
  const file = readElf(elfBytes(hello()));
  addSection(file, newSection({ name: '.new', type: SHT.SHT_NOBITS }));
  const written = readElf(elfBytes(file));
  t.is(written.sections.at(-1)?.name, '.new');
  t.is(written.sections[8]?.name, '.shstrtab');
  t.is(written.sections[8]?.offset, (file.shoff ?? 0) + 64 * 10);
});

test('layoutElf() does not take the sh_name of another file for an offset of its own', t => {
  const file = hello();
  addSection(file, newSection({ name: '.foreign', type: SHT.SHT_NOBITS, nameOffset: 7 }));
  t.is(namesOf(elfBytes(file))[8], '.foreign');
});

test('layoutElf() keeps sh_name in a file without a section for the names', t => {
  const file = newElf({ type: 1 });
  file.shstrndx = SHN.SHN_UNDEF;
  addSection(file, newSection({ name: '', type: SHT.SHT_NOBITS, nameOffset: 99 }));
  t.is(layoutElf(file).sections[1]?.sh_name, 99);
});

test('layoutElf() refuses names where shstrndx says that there are none', t => {
  const file = hello();
  file.shstrndx = SHN.SHN_UNDEF;
  t.throws(() => layoutElf(file), {
    instanceOf: FormatError,
    code: 'ELF_BAD_SHSTRNDX',
    message: /section ".note.gnu.build-id" has a name but shstrndx is 0/,
  });
});

test('layoutElf() refuses a first section that is not the null section', t => {
  const file = hello();
  file.sections.shift();
  t.throws(() => layoutElf(file), { code: 'ELF_BAD_SECTION_ZERO', message: /section 0 is 0x7/ });
});
