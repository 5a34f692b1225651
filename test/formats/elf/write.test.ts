import { spawnSync } from 'node:child_process';
import test from 'ava';
import { SHT } from '../../../formats/elf/constants.ts';
import { findSection } from '../../../formats/elf/find.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import { addSection, newElf, newSection } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes, piecesToBytes, writeElf } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { bytesSource } from '../../../formats/source.ts';
import { core } from './support/core.ts';
import { detached, withoutSections } from './support/files.ts';
import { hello } from './support/hello.ts';
import { headerOf, setByte, setHeader, setSection, spoiled } from './support/spoil.ts';
import { bytesOf, compiled, manySections, onDisk, output } from './support/tools.ts';

const SOURCE = 'int x = 1; _Thread_local int y; int main(void) { return x + y; }';
const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** The header changed where it means nothing. */
const oddHeader = (bytes: Uint8Array): Uint8Array =>
  spoiled(bytes, setByte(7, 3), setByte(9, 0xde), setByte(15, 0xbe), setHeader({ e_ehsize: 65 }));

/** Numbers in section 0 though the header has room for them. */
function needlesslyExtended(bytes: Uint8Array): Uint8Array {
  const { e_shnum, e_shstrndx, e_phnum } = headerOf(bytes);
  const inSectionZero = setSection(0, { sh_size: BigInt(e_shnum), sh_link: e_shstrndx, sh_info: e_phnum });
  return spoiled(bytes, inSectionZero, setHeader({ e_shnum: 0, e_shstrndx: 0xffff, e_phnum: 0xffff }));
}

/** As Linux writes a core with PN_XNUM: section 0 says how many sections there are although e_shnum does. */
const countedTwice = (bytes: Uint8Array): Uint8Array =>
  spoiled(bytes, setSection(0, { sh_size: BigInt(headerOf(bytes).e_shnum) }));

/** One program header that begins within the ELF header. */
const headersOverlap = (): Uint8Array =>
  spoiled(elfBytes(core([])).slice(0, 64 + 56), setHeader({ e_phoff: 56n, e_phnum: 1 }));

/** .note.unexec begins where .data does. */
const sectionsOverlap = (): Uint8Array => spoiled(elfBytes(hello()), setSection(5, { sh_offset: 0x2000n }));

const identical = test.macro<[string, () => Uint8Array, boolean?]>({
  exec(t, _title, make, shares = false) {
    const bytes = make();
    t.is(Buffer.compare(elfBytes(readElf(bytes)), bytes), 0);
    // And from the model alone, unless things share a place, which only a common source explains.
    if (shares) t.throws(() => elfBytes(detached(readElf(bytes))), { code: 'ELF_OVERLAP' });
    else t.is(Buffer.compare(elfBytes(detached(readElf(bytes))), bytes), 0);
  },
  title: (_, title) => `write(read(x)) is x for ${title}`,
});
test(identical, 'a program', () => compiled(SOURCE, ['-g']));
test(identical, 'a static program', () => compiled(SOURCE, ['-static']));
test(identical, 'an object file', () => compiled(SOURCE, ['-c', '-g', '-ffunction-sections']));
test(identical, 'a library', () => compiled('int f(void) { return 1; }', ['-shared', '-fPIC']));
test(identical, 'a program of ours', () => elfBytes(hello()));
test(identical, 'a file of 66,000 sections', () => bytesOf(manySections(66_000)));
test(identical, 'a core', () => elfBytes(core([new Uint8Array(5000).fill(1), new Uint8Array(3).fill(2)])));
test(identical, 'a core of 65,600 segments', () =>
  elfBytes(core(Array.from({ length: 65_600 }, () => new Uint8Array(0)))),
);
test(identical, 'a core that counts its one section twice, as Linux does', () =>
  countedTwice(elfBytes(core(Array.from({ length: 65_600 }, () => new Uint8Array(0))))),
);
test(identical, 'a program without section headers', () => withoutSections(compiled(SOURCE, [])));
test(identical, 'a program with a payload at its end', () =>
  concat(compiled(SOURCE, []), new Uint8Array(999).fill(7)),
);
test(identical, 'a header with odd values in fields that mean nothing', () =>
  oddHeader(compiled(SOURCE, [])),
);
test(identical, 'a header that keeps small numbers in section 0', () =>
  needlesslyExtended(compiled(SOURCE, [])),
);
test(identical, 'a core with an e_shstrndx that means nothing', () =>
  spoiled(elfBytes(core([new Uint8Array(10)])), setHeader({ e_shstrndx: 0xff00 })),
);
test(identical, 'an object file with an e_phoff that means nothing', () =>
  spoiled(compiled(SOURCE, ['-c']), setHeader({ e_phoff: 2n ** 50n })),
);
test(identical, 'a header alone', () => elfBytes(newElf({ type: 2 })));
test(identical, 'headers that overlap', headersOverlap, true);
test(identical, 'two sections that share bytes', sectionsOverlap, true);

test('writeElf() gives pieces in order, without overlaps, of a megabyte at most from a source', t => {
  const large = newSection({
    name: '.large',
    type: SHT.SHT_PROGBITS,
    contents: new Uint8Array(5_000_000).fill(1),
  });
  const file = newElf({ type: 1 });
  addSection(file, large);
  const layout = layoutElf(readElf(elfBytes(file)));
  let position = 0;
  for (const { offset, bytes } of writeElf(layout)) {
    t.is(offset, position);
    t.true(bytes.length > 0 && bytes.length <= 2 ** 20);
    position += bytes.length;
  }
  t.is(position, layout.size);
});

test('writeElf() reads contents when their piece is asked for, not before', t => {
  let reads = 0;
  const contents = {
    size: 3 * 2 ** 20,
    read: (_: number, length: number) => {
      reads++;
      return new Uint8Array(length);
    },
  };
  const file = newElf({ type: 1 });
  addSection(file, newSection({ name: '.lazy', type: SHT.SHT_PROGBITS, contents }));
  const pieces = writeElf(layoutElf(file));
  t.is(reads, 0);
  pieces.next();
  t.is(reads, 0);
  pieces.next();
  t.is(reads, 1);
  t.is([...pieces].length, 4);
  t.is(reads, 3);
});

test('writeElf() leaves external contents to the caller', t => {
  const file = newElf({ type: 2 });
  addSection(file, newSection({ name: '.image', type: SHT.SHT_PROGBITS, offset: 0x1000, size: 2 ** 33 }));
  const layout = layoutElf(file);
  for (const { offset, bytes } of writeElf(layout)) {
    t.true(offset + bytes.length <= 0x1000 || offset >= 0x1000 + 2 ** 33);
  }
  t.true(layout.size > 2 ** 33);
});

test('writeElf() notices a source that gives fewer bytes than it promised', t => {
  const contents = { size: 100, read: () => new Uint8Array(99) };
  const file = newElf({ type: 1 });
  addSection(file, newSection({ name: '.short', type: SHT.SHT_PROGBITS, contents }));
  t.throws(() => elfBytes(file), {
    instanceOf: FormatError,
    code: 'ELF_LAYOUT',
    message: 'ELF: section 1 (.short) comes to 0x63, expected 0x64 as laid out',
  });
});

test('writeElf() notices contents that changed after the layout', t => {
  const contents = { size: 100, read: (_: number, length: number) => new Uint8Array(length) };
  const file = newElf({ type: 1 });
  addSection(file, newSection({ name: '.grows', type: SHT.SHT_PROGBITS, contents }));
  const layout = layoutElf(file);
  contents.size = 101;
  t.throws(() => [...writeElf(layout)], { code: 'ELF_LAYOUT' });
});

test('elfBytes() refuses external contents and files beyond 2 GiB', t => {
  const file = newElf({ type: 2 });
  const image = newSection({ name: '.image', type: SHT.SHT_PROGBITS, offset: 0x1000, size: 16 });
  addSection(file, image);
  t.throws(() => elfBytes(file), {
    instanceOf: FormatError,
    code: 'ELF_EXTERNAL',
    message: /section 1 \(\.image\)/,
  });
  image.offset = 2 ** 31;
  image.contents = new Uint8Array(16);
  t.throws(() => elfBytes(file), { instanceOf: FormatError, code: 'ELF_TOO_LARGE' });
});

test('piecesToBytes() fills what no piece covers with zeros', t => {
  const pieces = [
    { offset: 1, bytes: Uint8Array.of(5) },
    { offset: 3, bytes: Uint8Array.of(6) },
  ];
  t.deepEqual([...piecesToBytes(pieces, 5)], [0, 5, 0, 6, 0]);
});

test('a change of one header field changes only that field', t => {
  const bytes = compiled(SOURCE, []);
  const file = readElf(bytesSource(bytes));
  file.header.entry += 0x10n;
  const written = elfBytes(file);
  const changed = [...bytes.keys()].filter(i => bytes[i] !== written[i]);
  t.deepEqual(changed, [24]);
});

test('a section with new contents of the same size changes only its bytes', t => {
  const bytes = elfBytes(hello());
  const file = readElf(bytes);
  const data = findSection(file, '.data');
  if (data) data.contents = new Uint8Array(16).fill(0xff);
  const written = elfBytes(file);
  t.deepEqual(
    [...bytes.keys()].filter(i => bytes[i] !== written[i]),
    Array.from({ length: 16 }, (_, i) => 0x2000 + i),
  );
});

test('a section that outgrew its place is refused, and written elsewhere once it has none', t => {
  const file = readElf(elfBytes(hello()));
  const own = findSection(file, '.note.unexec');
  if (!own) throw new Error('no .note.unexec');
  own.contents = new Uint8Array(48);
  t.throws(() => elfBytes(file), { code: 'ELF_OVERLAP', message: /overlaps section 5 \(\.note\.unexec\)/ });
  own.offset = undefined;
  const again = findSection(readElf(elfBytes(file)), '.note.unexec');
  t.is(again?.size, 48);
});

test('a program to which a section was added still runs, and readelf finds the section', t => {
  const file = readElf(
    compiled('#include <stdio.h>\nint main(void) { puts("still here"); return 3; }', ['-g']),
  );
  addSection(
    file,
    newSection({ name: '.comment.unexec', type: SHT.SHT_PROGBITS, contents: new Uint8Array(123) }),
  );
  const path = onDisk(elfBytes(file));
  t.like(spawnSync(path, { encoding: 'utf8' }), { stdout: 'still here\n', status: 3 });
  t.regex(output('readelf', ['-SW', path]), /\.comment\.unexec +PROGBITS +0{16} [0-9a-f]+ 00007b/);
});
