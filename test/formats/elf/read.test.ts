import test from 'ava';
import { ELFOSABI, EM, ET, PT, SHT } from '../../../formats/elf/constants.ts';
import { sectionContents } from '../../../formats/elf/find.ts';
import { addSection, type ElfSection, hasFileBytes, newElf, newSection } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { Elf64_Shdr } from '../../../formats/elf/structs.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import type { ByteSource } from '../../../formats/source.ts';
import { core } from './support/core.ts';
import { hello } from './support/hello.ts';
import { cut, type Spoil, setHeader, setSection, setSegment, spoiled } from './support/spoil.ts';
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
  const names = newSection({ name: '.shstrtab', type: SHT.SHT_STRTAB });
  t.deepEqual(read.sections.map(facts), [...made.sections, names].map(facts));
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

const refused = test.macro<[string, Spoil, string, RegExp]>({
  exec(t, _title, spoil, code, message) {
    t.throws(() => readElf(spoiled(elfBytes(hello()), spoil)), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `readElf() refuses ${title}`,
});

test(
  refused,
  'a program header table past the end',
  setHeader({ e_phoff: 0xfffffn }),
  'ELF_TRUNCATED',
  /program header table of 5/,
);
test(
  refused,
  'a program header table at 2^63',
  setHeader({ e_phoff: 2n ** 63n }),
  'OUT_OF_RANGE',
  /program header table is 0x8/,
);
test(
  refused,
  'a section header table past the end',
  setHeader({ e_shoff: 2n ** 50n }),
  'ELF_TRUNCATED',
  /section header table/,
);
test(
  refused,
  'a file cut in its section header table',
  cut(-1),
  'ELF_TRUNCATED',
  /section header table of 9/,
);
test(
  refused,
  'a section 0 with a type',
  setSection(0, { sh_type: 1 }),
  'ELF_BAD_SECTION_ZERO',
  /section 0 is 0x1, expected SHT_NULL/,
);
test(
  refused,
  'a section past the end',
  setSection(2, { sh_size: 0x10000n }),
  'ELF_TRUNCATED',
  /section 2 is 0x10000 bytes at 0x1000/,
);
test(
  refused,
  'a section that begins past the end',
  setSection(2, { sh_offset: 2n ** 52n }),
  'ELF_TRUNCATED',
  /section 2 is/,
);
test(
  refused,
  'a section size of 2^63',
  setSection(4, { sh_size: 2n ** 63n }),
  'OUT_OF_RANGE',
  /sh_size of section 4 is 0x8000000000000000/,
);
test(
  refused,
  'an alignment of 2^63',
  setSection(1, { sh_addralign: 2n ** 63n }),
  'OUT_OF_RANGE',
  /sh_addralign of section 1/,
);
test(
  refused,
  'a segment size of 2^63',
  setSegment(1, { p_memsz: 2n ** 63n }),
  'OUT_OF_RANGE',
  /p_memsz of segment 1/,
);
test(
  refused,
  'names in a section that is not there',
  setHeader({ e_shstrndx: 200 }),
  'ELF_BAD_SHSTRNDX',
  /200 at 0x3e, expected one of 9 sections/,
);
test(
  refused,
  'names in a section without contents',
  setHeader({ e_shstrndx: 4 }),
  'ELF_BAD_SHSTRNDX',
  /e_shstrndx is 4/,
);
test(
  refused,
  'a name outside of the names',
  setSection(3, { sh_name: 0xffffffff }),
  'ELF_BAD_STRING',
  /at 0xffffffff of a string table/,
);

test('readElf() refuses section names that overlap into gigabytes', t => {
  const file = newElf({ type: 1 });
  const letters = new Uint8Array(2 ** 20).fill(0x61);
  letters[2 ** 20 - 1] = 0;
  const names = addSection(file, newSection({ name: '', type: SHT.SHT_STRTAB, contents: letters }));
  for (let i = 0; i < 20_000; i++)
    addSection(file, newSection({ name: '', type: SHT.SHT_NOBITS, nameOffset: i }));
  // The layout keeps sh_name as long as it is told that there are no names.
  const bytes = spoiled(elfBytes({ ...file, shstrndx: 0 }), setHeader({ e_shstrndx: names }));
  t.throws(() => readElf(bytes), { instanceOf: FormatError, code: 'ELF_BAD_STRING', message: /overlap/ });
});

test('readElf() lets a section of no bytes be anywhere', t => {
  const bytes = spoiled(elfBytes(hello()), setSection(2, { sh_offset: 2n ** 52n, sh_size: 0n }));
  t.like(readElf(bytes).sections[2], { offset: 2 ** 52, size: 0 });
  t.deepEqual(elfBytes(readElf(bytes)), bytes);
});

test('readElf() refuses a table of gigabytes, even where the file has them', t => {
  const header = spoiled(elfBytes(hello()).slice(0, 64), setHeader({ e_shoff: 64n, e_shnum: 0 }));
  const zero = Elf64_Shdr.encode({ ...ZERO, sh_size: 2n ** 32n }, true);
  const read = (offset: number, length: number) =>
    offset === 0 ? header.slice(0, length) : zero.slice(0, length);
  t.throws(() => readElf({ size: 2 ** 45, read }), { instanceOf: FormatError, code: 'TOO_LARGE' });
});

test('readElf() leaves SHT_NOBITS without contents, wherever its offset points', t => {
  const bytes = spoiled(elfBytes(hello()), setSection(4, { sh_offset: 2n ** 52n }));
  const bss = readElf(bytes).sections[4];
  t.like(bss, { name: '.bss', type: SHT.SHT_NOBITS, size: 64, contents: undefined, offset: 2 ** 52 });
  t.false(bss && hasFileBytes(bss));
});

const ZERO: Elf64_Shdr = {
  sh_name: 0,
  sh_type: 0,
  sh_flags: 0n,
  sh_addr: 0n,
  sh_offset: 0n,
  sh_size: 0n,
  sh_link: 0,
  sh_info: 0,
  sh_addralign: 0n,
  sh_entsize: 0n,
};

const facts = ({ name, type, flags, address, link, info, align, entsize }: ElfSection) => ({
  name,
  type,
  flags,
  address,
  link,
  info,
  align,
  entsize,
});
