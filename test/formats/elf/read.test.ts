import test from 'ava';
import { ELFOSABI, EM, ET, PT, SHT } from '../../../formats/elf/constants.ts';
import { sectionContents } from '../../../formats/elf/find.ts';
import { hasFileBytes } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import type { ByteSource } from '../../../formats/source.ts';
import { core } from './support/core.ts';
import { hello } from './support/hello.ts';
import { bytesOf, compile, output } from './support/tools.ts';

test('readElf() gives back the model that was written', t => {
  const made = hello();
  const read = readElf(elfBytes(made));
  t.like(read.header, {
    type: ET.ET_EXEC,
    machine: EM.EM_X86_64,
    entry: 0x401000n,
    flags: 0,
    osabi: ELFOSABI.ELFOSABI_NONE,
  });
  t.deepEqual(
    read.segments.map(({ type, flags, align }) => ({ type, flags, align })),
    made.segments.map(({ type, flags, align }) => ({ type, flags, align })),
  );
  t.deepEqual(
    read.sections.map(({ name, type, flags, address, link, info, align, entsize }) => [
      name,
      type,
      flags,
      address,
      link,
      info,
      align,
      entsize,
    ]),
    [
      ...made.sections,
      {
        name: '.shstrtab',
        type: SHT.SHT_STRTAB,
        flags: 0,
        address: 0n,
        link: 0,
        info: 0,
        align: 1,
        entsize: 0,
      },
    ].map(({ name, type, flags, address, link, info, align, entsize }) => [
      name,
      type,
      flags,
      address,
      link,
      info,
      align,
      entsize,
    ]),
  );
  t.deepEqual(read.sections.slice(0, -1).map(sectionContents), made.sections.map(sectionContents));
});

test('readElf() reads the sections and segments that readelf reads', t => {
  const path = compile('int x[9] = {1}, y[9]; int main(void) { return x[0] + y[0]; }', ['-g']);
  const file = readElf(bytesOf(path));
  const hexOf = (value: number | bigint, digits: number) => value.toString(16).padStart(digits, '0');

  const sections = output('readelf', ['-SW', path]).matchAll(
    /^ +\[ *\d+\] (\S*) +[A-Z_]+ +([0-9a-f]{16}) ([0-9a-f]{6}) ([0-9a-f]{6}) ([0-9a-f]{2}) +[WAXMSILOGTCxoEpDl]* +(\d+) +(\d+) +(\d+)$/gm,
  );
  t.deepEqual(
    file.sections.map(({ name, address, offset, size, entsize, link, info, align }) => [
      name,
      hexOf(address, 16),
      hexOf(offset ?? 0, 6),
      hexOf(size, 6),
      hexOf(entsize, 2),
      `${link}`,
      `${info}`,
      `${align}`,
    ]),
    [...sections]
      .map(([, ...fields]) => fields)
      .map(fields => (fields[0] === 'NULL' ? ['', ...fields.slice(1)] : fields)),
  );

  const segments = output('readelf', ['-lW', path]).matchAll(
    /^ {2}\S+ +0x(\S+) 0x(\S+) 0x(\S+) 0x(\S+) 0x(\S+) [RWE ]{3} 0x(\S+)$/gm,
  );
  t.deepEqual(
    file.segments.map(({ offset, address, physicalAddress, fileSize, memorySize, align }) => [
      hexOf(offset, 6),
      hexOf(address, 16),
      hexOf(physicalAddress, 16),
      hexOf(fileSize, 6),
      hexOf(memorySize, 6),
      align.toString(16),
    ]),
    [...segments].map(([, ...fields]) => fields),
  );
  t.true(file.sections.length > 25 && file.segments.length > 8);
});

test('readElf() reads only headers of a core of a terabyte', t => {
  const small = elfBytes(core([new Uint8Array(4096)]));
  let total = 0;
  const source: ByteSource = {
    size: 2 ** 40,
    read: (offset, length) => {
      total += length;
      return small.slice(offset, offset + length);
    },
  };
  const file = readElf(source);
  t.deepEqual(
    file.segments.map(({ type }) => type),
    [PT.PT_NOTE, PT.PT_LOAD],
  );
  t.true(total < 1000);
});

test('readElf() lets a segment go past the end of the file, as cut-off cores and debug files have it', t => {
  const bytes = elfBytes(core([new Uint8Array(4096)]));
  const file = readElf(bytes.subarray(0, -1));
  t.is(file.segments[1]?.fileSize, 4096);
});

test('readElf() does not look at e_shstrndx where there are no sections', t => {
  const bytes = elfBytes(core([]));
  new DataView(bytes.buffer).setUint16(62, 17, true);
  t.deepEqual(readElf(bytes).sections, []);
});

const refused = test.macro<[string, string, RegExp, (view: DataView) => unknown]>({
  exec(t, _title, code, message, spoil) {
    const bytes = elfBytes(hello());
    const spoiled = spoil(new DataView(bytes.buffer));
    t.throws(() => readElf(spoiled instanceof Uint8Array ? spoiled : bytes), {
      instanceOf: FormatError,
      code,
      message,
    });
  },
  title: (_, title) => `readElf() refuses ${title}`,
});

const { ehdr, section } = {
  ehdr: {
    e_version: 20,
    e_phoff: 32,
    e_shoff: 40,
    e_phentsize: 54,
    e_phnum: 56,
    e_shentsize: 58,
    e_shnum: 60,
    e_shstrndx: 62,
  },
  section: {
    sh_name: 0,
    sh_type: 4,
    sh_flags: 8,
    sh_offset: 24,
    sh_size: 32,
    sh_link: 40,
    sh_info: 44,
    sh_addralign: 48,
  },
};
/** Byte of a field in the header of section `index`. */
const inSection = (view: DataView, index: number, field: keyof typeof section): number =>
  Number(view.getBigUint64(ehdr.e_shoff, true)) + 64 * index + section[field];

const cut = (size: number) => (view: DataView) => new Uint8Array(view.buffer, 0, size);
const set8 = (at: number, value: number) => (view: DataView) => view.setUint8(at, value);
const set16 = (at: number, value: number) => (view: DataView) => view.setUint16(at, value, true);
const set64 = (at: number, value: bigint) => (view: DataView) => view.setBigUint64(at, value, true);
const setSection32 = (index: number, field: keyof typeof section, value: number) => (view: DataView) =>
  view.setUint32(inSection(view, index, field), value, true);
const setSection64 = (index: number, field: keyof typeof section, value: bigint) => (view: DataView) =>
  view.setBigUint64(inSection(view, index, field), value, true);

test(refused, 'an empty file', 'ELF_BAD_MAGIC', /begins with nothing/, cut(0));
test(refused, 'three bytes', 'ELF_BAD_MAGIC', /begins with 7f 45 4c,/, cut(3));
test(refused, 'a script', 'ELF_BAD_MAGIC', /begins with 23 21 2f 62, expected 7f 45 4c 46/, () =>
  new TextEncoder().encode('#!/bin/sh'),
);
test(refused, 'a file of the magic alone', 'ELF_UNSUPPORTED_CLASS', /EI_CLASS is 0 at 0x4/, cut(4));
test(
  refused,
  'ELF32',
  'ELF_UNSUPPORTED_CLASS',
  /EI_CLASS is 1 at 0x4, expected 2 \(ELFCLASS64\)/,
  set8(4, 1),
);
test(
  refused,
  'a big-endian file',
  'ELF_UNSUPPORTED_DATA',
  /EI_DATA is 2 at 0x5, expected 1 \(ELFDATA2LSB\)/,
  set8(5, 2),
);
test(refused, 'another EI_VERSION', 'ELF_BAD_VERSION', /EI_VERSION is 9 at 0x6/, set8(6, 9));
test(
  refused,
  'another e_version',
  'ELF_BAD_VERSION',
  /e_version is 2 at 0x14, expected 1/,
  set8(ehdr.e_version, 2),
);
test(
  refused,
  'half a header',
  'ELF_TRUNCATED',
  /the file has 0x3f bytes, expected 0x40 for the ELF header/,
  cut(63),
);
test(
  refused,
  'another e_phentsize',
  'ELF_BAD_PHENTSIZE',
  /e_phentsize is 32 at 0x36, expected 56/,
  set16(ehdr.e_phentsize, 32),
);
test(
  refused,
  'another e_shentsize',
  'ELF_BAD_SHENTSIZE',
  /e_shentsize is 40 at 0x3a, expected 64/,
  set16(ehdr.e_shentsize, 40),
);
test(refused, 'segments without e_phoff', 'ELF_BAD_PHOFF', /e_phoff is 0 at 0x20/, set64(ehdr.e_phoff, 0n));
test(refused, 'sections without e_shoff', 'ELF_BAD_SHOFF', /e_shoff is 0 at 0x28/, set64(ehdr.e_shoff, 0n));
test(
  refused,
  'a program header table past the end',
  'ELF_TRUNCATED',
  /program header table of 5 entries/,
  set64(ehdr.e_phoff, 0xfffffn),
);
test(
  refused,
  'a program header table at 2^63',
  'OUT_OF_RANGE',
  /program header table is 0x8/,
  set64(ehdr.e_phoff, 2n ** 63n),
);
test(
  refused,
  'a section header table past the end',
  'ELF_TRUNCATED',
  /section header table/,
  set64(ehdr.e_shoff, 2n ** 50n),
);
test(refused, 'a file cut in its section header table', 'ELF_TRUNCATED', /section header table/, view =>
  cut(view.byteLength - 1)(view),
);
test(
  refused,
  'more program headers than the file holds',
  'ELF_TRUNCATED',
  /of 65534 entries/,
  set16(ehdr.e_phnum, 0xfffe),
);
test(
  refused,
  'a reserved e_shnum',
  'ELF_BAD_SHNUM',
  /e_shnum is 65280 at 0x3c, expected less than SHN_LORESERVE/,
  set16(ehdr.e_shnum, 0xff00),
);
test(
  refused,
  'PN_XNUM without a number in section 0',
  'ELF_BAD_PHNUM',
  /e_phnum is PN_XNUM at 0x38/,
  set16(ehdr.e_phnum, 0xffff),
);
test(
  refused,
  'SHN_XINDEX without an index in section 0',
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 65535 at 0x3e, expected .* SHN_XINDEX and the index/,
  set16(ehdr.e_shstrndx, 0xffff),
);
test(refused, 'four thousand million segments', 'ELF_TRUNCATED', /of 4294967295 entries/, view => {
  set16(ehdr.e_phnum, 0xffff)(view);
  setSection32(0, 'sh_info', 0xffffffff)(view);
});
test(
  refused,
  'a reserved e_shstrndx',
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 65281 at 0x3e, expected less/,
  set16(ehdr.e_shstrndx, 0xff01),
);
for (const count of [2n ** 24n, 2n ** 53n - 1n]) {
  test(refused, `${count} sections`, 'ELF_TRUNCATED', /section header table of/, view => {
    set16(ehdr.e_shnum, 0)(view);
    setSection64(0, 'sh_size', count)(view);
  });
}
test(refused, '2^64 - 1 sections', 'OUT_OF_RANGE', /sh_size of section 0/, view => {
  set16(ehdr.e_shnum, 0)(view);
  setSection64(0, 'sh_size', 2n ** 64n - 1n)(view);
});
test(
  refused,
  'a section 0 with a type',
  'ELF_BAD_SECTION_ZERO',
  /section 0 is 0x1, expected SHT_NULL/,
  setSection32(0, 'sh_type', 1),
);
test(
  refused,
  'a section past the end',
  'ELF_TRUNCATED',
  /section 2 is/,
  setSection64(2, 'sh_size', 0x10000n),
);
test(
  refused,
  'a section that begins past the end',
  'ELF_TRUNCATED',
  /section 2 is/,
  setSection64(2, 'sh_offset', 2n ** 52n),
);
test(
  refused,
  'a section size of 2^63',
  'OUT_OF_RANGE',
  /sh_size of section 4 is 0x8000000000000000/,
  setSection64(4, 'sh_size', 2n ** 63n),
);
test(
  refused,
  'an alignment of 2^63',
  'OUT_OF_RANGE',
  /sh_addralign of section 1/,
  setSection64(1, 'sh_addralign', 2n ** 63n),
);
test(
  refused,
  'an e_shstrndx that is no section',
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 200 at 0x3e, expected one of 9 sections/,
  set16(ehdr.e_shstrndx, 200),
);
test(
  refused,
  'an e_shstrndx without contents',
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 4/,
  set16(ehdr.e_shstrndx, 4),
);
test(
  refused,
  'a section name outside of its table',
  'ELF_BAD_STRING',
  /at 0xffffffff of a string table/,
  setSection32(3, 'sh_name', 0xffffffff),
);

test('readElf() refuses section names that overlap into gigabytes', t => {
  const file = hello();
  const names = file.sections.find(({ name }) => name === '.strtab');
  if (!names) throw new Error('no .strtab');
  names.contents = new Uint8Array(2 ** 20).fill(0x61);
  names.contents[2 ** 20 - 1] = 0;
  file.shstrndx = file.sections.indexOf(names);
  for (const section of file.sections) section.name = '';
  for (let i = 0; i < 20_000; i++) {
    const [zero] = file.sections;
    if (zero) file.sections.push({ ...zero, type: SHT.SHT_NOBITS, nameOffset: i });
  }
  // Written by hand: the layout would keep names that are not these.
  const bytes = elfBytes({ ...file, shstrndx: 0 });
  const view = new DataView(bytes.buffer);
  view.setUint16(62, file.shstrndx, true);
  t.throws(() => readElf(bytes), { instanceOf: FormatError, code: 'ELF_BAD_STRING', message: /overlap/ });
});

test('readElf() leaves SHT_NOBITS without contents, wherever its offset points', t => {
  const bytes = elfBytes(hello());
  const view = new DataView(bytes.buffer);
  setSection64(4, 'sh_offset', 2n ** 52n)(view);
  const bss = readElf(bytes).sections[4];
  t.like(bss, { name: '.bss', type: SHT.SHT_NOBITS, size: 64, contents: undefined, offset: 2 ** 52 });
  t.false(bss && hasFileBytes(bss));
});
