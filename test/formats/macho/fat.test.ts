/** Files of several architectures. */
import test from 'ava';
import {
  CPU_TYPE,
  contentsSize,
  FAT,
  type FatFile,
  FormatError,
  fat_arch,
  fat_header,
  fatBytes,
  layoutFat,
  type MachOFile,
  machoBytes,
  newMachO,
  readFat,
  readMachO,
  wholeContents,
  writeFat,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, fat, linked, onDisk, output } from './support/tools.ts';

const both = (): Uint8Array =>
  bytesOf(fat(linked({ arch: 'x86_64', fixups: 'dyld-info' }), linked({ arch: 'arm64', fixups: 'chained' })));

const made = (magic: number, ...files: readonly MachOFile[]): FatFile => ({
  magic,
  architectures: files.map(file => ({
    cputype: file.header.cputype,
    cpusubtype: file.header.cpusubtype,
    offset: undefined,
    align: 14,
    contents: machoBytes(file),
  })),
  kept: [],
  source: undefined,
});

const arm = () => newMachO({ cputype: CPU_TYPE.CPU_TYPE_ARM64, filetype: 1 });

test('write(read(x)) is x for a fat file', t => {
  const bytes = both();
  t.is(Buffer.compare(fatBytes(readFat(bytes)), bytes), 0);
  const trailing = new Uint8Array([...bytes, 1, 2, 3]);
  t.is(Buffer.compare(fatBytes(readFat(trailing)), trailing), 0);
});

test('a fat file holds the files that it was made of', t => {
  const { magic, architectures } = readFat(both());
  t.is(magic, FAT.FAT_MAGIC);
  const paths = [
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  ];
  t.deepEqual(
    architectures.map(({ cputype }) => cputype),
    [CPU_TYPE.CPU_TYPE_X86_64, CPU_TYPE.CPU_TYPE_ARM64],
  );
  for (const [i, { contents, cputype }] of architectures.entries()) {
    t.is(Buffer.compare(wholeContents(contents), bytesOf(paths[i] ?? '')), 0);
    t.is(readMachO(contents).header.cputype, cputype);
  }
});

for (const magic of [FAT.FAT_MAGIC, FAT.FAT_MAGIC_64]) {
  test(`a fat file made by us is what llvm-lipo takes apart, magic ${magic.toString(16)}`, t => {
    const bytes = fatBytes(made(magic, tiny(), arm()));
    const path = onDisk(bytes);
    t.regex(output('llvm-lipo-19', '-info', path), /are: x86_64 arm64/);
    for (const [name, file] of [
      ['x86_64', tiny()],
      ['arm64', arm()],
    ] as const) {
      const thin = `${path}.${name}`;
      output('llvm-lipo-19', path, '-thin', name, '-output', thin);
      t.is(Buffer.compare(bytesOf(thin), machoBytes(file)), 0);
    }
    t.is(Buffer.compare(fatBytes(readFat(bytes)), bytes), 0);
    t.true(readFat(bytes).architectures.every(({ offset }) => (offset ?? 1) % 0x4000 === 0));
  });
}

test('an architecture that grows moves those behind it', t => {
  const file = readFat(both());
  const [first, second] = file.architectures;
  if (!first || !second) return t.fail();
  const before = wholeContents(second.contents);
  first.contents = new Uint8Array(contentsSize(first.contents) + 0x10_0000).fill(1);
  t.throws(() => layoutFat(file), { instanceOf: FormatError, code: 'MACHO_OVERLAP' });
  second.offset = undefined;
  const again = readFat(fatBytes(file));
  t.is(Buffer.compare(wholeContents(again.architectures[1]?.contents ?? new Uint8Array()), before), 0);
});

test('writeFat() gives the same as fatBytes()', t => {
  const layout = layoutFat(made(FAT.FAT_MAGIC, tiny(), arm()));
  const bytes = new Uint8Array(layout.size);
  for (const piece of writeFat(layout)) bytes.set(piece.bytes, piece.offset);
  t.is(Buffer.compare(bytes, fatBytes(made(FAT.FAT_MAGIC, tiny(), arm()))), 0);
});

test('FAT_MAGIC does not hold what is beyond 4 GiB, FAT_MAGIC_64 does', t => {
  const large = (magic: number): FatFile => {
    const file = made(magic, tiny(), arm());
    const [, second] = file.architectures;
    if (second) second.offset = 2 ** 32;
    return file;
  };
  t.throws(() => layoutFat(large(FAT.FAT_MAGIC)), { instanceOf: FormatError, code: 'MACHO_TOO_LARGE' });
  t.true(layoutFat(large(FAT.FAT_MAGIC_64)).size > 2 ** 32);
  t.throws(() => fatBytes(large(FAT.FAT_MAGIC_64)), { instanceOf: FormatError, code: 'MACHO_TOO_LARGE' });
});

const refused = test.macro<[string, () => Uint8Array, string, RegExp]>({
  exec(t, _title, make, code, message) {
    t.throws(() => readFat(make()), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `readFat() refuses ${title}`,
});
const spoiled = (at: number, value: number) => (): Uint8Array => {
  const bytes = fatBytes(made(FAT.FAT_MAGIC, tiny(), arm()));
  viewOf(bytes).setUint32(at, value, false);
  return bytes;
};
const second = fat_header.size + fat_arch.size;
test(refused, 'a thin file', () => machoBytes(tiny()), 'MACHO_BAD_MAGIC', /fat header/);
test(refused, 'an empty file', () => new Uint8Array(0), 'MACHO_BAD_MAGIC', /fat header/);
test(
  refused,
  'half a header',
  () => Uint8Array.of(0xca, 0xfe, 0xba, 0xbe, 0),
  'MACHO_BAD_MAGIC',
  /fat header/,
);
test(refused, 'a Java class', spoiled(4, 61), 'MACHO_BAD_FAT', /nfat_arch is 61 at 0x4, .* Java class/);
test(
  refused,
  'a table beyond the end',
  () => spoiled(4, 40)().slice(0, 100),
  'MACHO_TRUNCATED',
  /table of 40/,
);
test(
  refused,
  'an architecture beyond the end',
  spoiled(second + 8, 0xffff_0000),
  'MACHO_TRUNCATED',
  /architecture 1 is/,
);
test(
  refused,
  'an architecture that ends beyond the end',
  spoiled(second + 12, 0xffff_ffff),
  'MACHO_TRUNCATED',
  /architecture 1 is 0xffffffff/,
);
