import test from 'ava';
import { PN_XNUM, PT, SHN, SHT } from '../../../formats/elf/constants.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import { addSection, type ElfFile, newElf, newSection, newSegment } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { core } from './support/core.ts';
import { hello } from './support/hello.ts';
import { type Spoil, setHeader, setSection, spoiled } from './support/spoil.ts';
import { bytesOf, manySections, onDisk, output } from './support/tools.ts';

/** A file of so many sections, the null section and the names included. */
function ofSections(count: number): ElfFile {
  const file = newElf({ type: 1 });
  for (let i = 1; i < count - 1; i++) {
    addSection(file, newSection({ name: `.s${i % 1000}`, type: SHT.SHT_PROGBITS }));
  }
  return file;
}

test('the header counts 65,279 sections itself', t => {
  const file = ofSections(SHN.SHN_LORESERVE - 1);
  t.is(layoutElf(file).header.e_shnum, SHN.SHN_LORESERVE - 1);
  t.is(readElf(elfBytes(file)).sections.length, SHN.SHN_LORESERVE - 1);
});

for (const count of [SHN.SHN_LORESERVE, SHN.SHN_LORESERVE + 1, 70_000]) {
  test(`${count} sections are counted in section 0, where readelf looks`, t => {
    const written = elfBytes(ofSections(count));
    const read = readElf(written);
    t.is(read.sections.length, count);
    t.is(read.shstrndx, count - 1);
    t.is(read.sections[count - 2]?.name, `.s${(count - 2) % 1000}`);
    const seen = output('readelf', ['-hW', onDisk(written)]);
    t.regex(seen, new RegExp(`Number of section headers: +0 \\(${count}\\)`));
    const index = count - 1 < SHN.SHN_LORESERVE ? `${count - 1}` : `65535 \\(${count - 1}\\)`;
    t.regex(seen, new RegExp(`string table index: +${index}`));
  });
}

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

test('a file that loses most of its 66,000 sections is counted in its header again', t => {
  const file = readElf(bytesOf(manySections(66_000)));
  file.sections.length = 3;
  Object.assign(file, { shstrndx: undefined, shoff: undefined, kept: [] });
  const path = onDisk(elfBytes(file));
  t.is(readElf(bytesOf(path)).sections.length, 4);
  t.is(readElf(bytesOf(path)).sections[0]?.size, 0);
  t.regex(output('readelf', ['-hW', path]), /Number of section headers: +4$/m);
});

test('layoutElf() refuses more segments than e_phnum holds without a section 0', t => {
  const file = hello();
  file.sections = [];
  file.segments = Array.from({ length: PN_XNUM }, () => newSegment({ type: PT.PT_NULL, flags: 0 }));
  t.throws(() => layoutElf(file), {
    instanceOf: FormatError,
    code: 'ELF_BAD_PHNUM',
    message: 'ELF: 65535 segments, expected a section 0 to hold their number',
  });
});

test('readElf() does not look at e_shstrndx where there are no sections', t => {
  t.deepEqual(readElf(spoiled(elfBytes(core([])), setHeader({ e_shstrndx: 17 }))).sections, []);
});

const refused = test.macro<[string, readonly Spoil[], string, RegExp]>({
  exec(t, _title, spoils, code, message) {
    const bytes = spoiled(elfBytes(hello()), ...spoils);
    t.throws(() => readElf(bytes), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `readElf() refuses ${title}`,
});

/** The marks, as they are without the numbers in section 0. */
const [manySegments, manyHeaders] = [setHeader({ e_phnum: PN_XNUM }), setHeader({ e_shnum: 0 })];

test(
  refused,
  'a reserved e_shnum',
  [setHeader({ e_shnum: 0xff00 })],
  'ELF_BAD_SHNUM',
  /e_shnum is 65280 at 0x3c, expected less/,
);
test(
  refused,
  'a reserved e_shstrndx',
  [setHeader({ e_shstrndx: 0xff01 })],
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 65281 at 0x3e/,
);
test(
  refused,
  'SHN_XINDEX without an index',
  [setHeader({ e_shstrndx: 0xffff })],
  'ELF_BAD_SHSTRNDX',
  /in sh_link of section 0/,
);
test(
  refused,
  'PN_XNUM without a number',
  [manySegments],
  'ELF_BAD_PHNUM',
  /e_phnum is PN_XNUM at 0x38, .* sh_info of section 0/,
);
test(
  refused,
  'four thousand million segments',
  [manySegments, setSection(0, { sh_info: 0xffffffff })],
  'ELF_TRUNCATED',
  /program header table of 4294967295 entries/,
);
for (const count of [2n ** 24n, 2n ** 32n, 2n ** 53n - 1n]) {
  const spoils = [manyHeaders, setSection(0, { sh_size: count })];
  test(
    refused,
    `${count} sections`,
    spoils,
    'ELF_TRUNCATED',
    new RegExp(`section header table of ${count} entries`),
  );
}
test(
  refused,
  '2^64 - 1 sections',
  [manyHeaders, setSection(0, { sh_size: 2n ** 64n - 1n })],
  'OUT_OF_RANGE',
  /sh_size of section 0/,
);
test(
  refused,
  'more segments than the file holds',
  [setHeader({ e_phnum: 0xfffe })],
  'ELF_TRUNCATED',
  /of 65534 entries/,
);
