/** What is written: files as they were read, files from nothing, and what a writer must notice. */
import test from 'ava';
import {
  atOffset,
  bytesSource,
  contentsSize,
  FormatError,
  findSegment,
  layoutMachO,
  type MachOFile,
  MH,
  mach_header_64,
  machoBytes,
  newSegment,
  readContents,
  readMachO,
  readSymbols,
  readUuid,
  sectionContents,
  sectionsOf,
  segmentsOf,
  writeMachO,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { firstDifference, withoutSource } from './support/files.ts';
import { CODE, SYMBOLS, tiny, UUID } from './support/tiny.ts';
import { bytesOf, dsym, linked, object, onDisk, output } from './support/tools.ts';

const setFiletype = (bytes: Uint8Array, filetype: number): Uint8Array => {
  const copy = bytes.slice();
  viewOf(copy).setUint32(mach_header_64.offsets.filetype, filetype, true);
  return copy;
};

const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** A core: segments without names and sections, at addresses far apart. */
function core(): MachOFile {
  const file = tiny();
  file.header.filetype = MH.MH_CORE;
  file.linkedit = [];
  file.commands = [1, 2, 3].map(i =>
    newSegment({
      segname: '',
      vmaddr: BigInt(i) << 40n,
      vmsize: 0x4000n,
      fileoff: 0x4000 * i,
      filesize: 0x4000,
      contents: new Uint8Array(0x4000).fill(i),
    }),
  );
  return file;
}

const identical = test.macro<[string, () => Uint8Array, number]>({
  exec(t, _title, make, filetype) {
    const bytes = make();
    const file = readMachO(bytes);
    t.is(file.header.filetype, filetype);
    t.is(Buffer.compare(machoBytes(file), bytes), 0);
    // And from the model alone, in pieces.
    const alone = layoutMachO(withoutSource(file));
    t.is(firstDifference(writeMachO(alone), alone.size, bytesSource(bytes)), undefined);
  },
  title: (_, title) => `write(read(x)) is x for ${title}`,
});
for (const arch of ['x86_64', 'arm64'] as const) {
  for (const fixups of ['dyld-info', 'chained'] as const) {
    test(
      identical,
      `a program for ${arch} with fixups ${fixups}`,
      () => bytesOf(linked({ arch, fixups })),
      2,
    );
  }
  test(identical, `an object file for ${arch}`, () => bytesOf(object(arch, ['-ffunction-sections'])), 1);
  test(
    identical,
    `a library for ${arch}`,
    () => bytesOf(linked({ arch, fixups: 'chained', kind: 'dylib' })),
    6,
  );
  test(
    identical,
    `a bundle for ${arch}`,
    () => bytesOf(linked({ arch, fixups: 'dyld-info', kind: 'bundle' })),
    8,
  );
  test(identical, `debug symbols for ${arch}`, () => bytesOf(dsym(arch)), 10);
}
const x86 = { arch: 'x86_64', fixups: 'dyld-info' } as const;
test(
  identical,
  'a program that is not position-independent',
  () => bytesOf(linked({ ...x86, pie: false })),
  2,
);
test(identical, 'a program without a signature', () => bytesOf(linked({ ...x86, signed: false })), 2);
test(
  identical,
  'a dynamic linker',
  () => setFiletype(bytesOf(linked({ ...x86, kind: 'dylib' })), MH.MH_DYLINKER),
  7,
);
test(identical, 'a core', () => machoBytes(core()), MH.MH_CORE);
test(identical, 'a program of ours', () => machoBytes(tiny()), MH.MH_EXECUTE);
test(
  identical,
  'a program with something behind it',
  () => concat(machoBytes(tiny()), Buffer.from('tail')),
  2,
);
test(identical, 'a program with zeros behind it', () => concat(machoBytes(tiny()), new Uint8Array(100)), 2);
test(
  identical,
  'a header alone',
  () => mach_header_64.encode({ ...HEADER, ncmds: 0, sizeofcmds: 0 }, true),
  1,
);

const HEADER = {
  magic: 0xfeedfacf,
  cputype: 0x0100_0007,
  cpusubtype: 3,
  filetype: MH.MH_OBJECT,
  flags: 0x8000_0001,
  reserved: 0xdeadbeef,
};

test('a program from nothing is what LLVM reads without a complaint', t => {
  const path = onDisk(machoBytes(tiny()));
  const headers = output('llvm-objdump-19', '--macho', '--private-headers', path);
  t.true(headers.includes(`uuid ${UUID.toUpperCase().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`));
  t.regex(output('llvm-objdump-19', '--macho', '-d', path), /movl\t\$0x2a, %eax/);
  t.regex(output('llvm-objdump-19', '--macho', '--function-starts', path), /0*100000ff0/);
  t.is(output('llvm-nm-19', path), '0000000100000ff0 T _main\n0000000100001000 D _word\n');
  output('llvm-readobj-19', '--all', path);
  // It takes the local symbols away, and so has understood all of it.
  output('llvm-strip-19', '-x', path);
});

test('a program from nothing is read back as it was made', t => {
  const file = readMachO(machoBytes(tiny()));
  t.is(readUuid(file), UUID);
  t.deepEqual(readSymbols(file), SYMBOLS);
  const [text] = sectionsOf(file);
  t.deepEqual(text && Buffer.compare(sectionContents(file, text), CODE), 0);
  t.deepEqual(file.kept, []);
  t.is(findSegment(file, '__LINKEDIT')?.contents, undefined);
});

test('writeMachO() gives pieces in order, of a megabyte at most from a source, read when they are asked for', t => {
  const size = 3 * 2 ** 20 + 5;
  let asked = 0;
  const contents = {
    size,
    read: (_: number, length: number) => {
      asked++;
      return new Uint8Array(length).fill(7);
    },
  };
  const file = tiny();
  const data = findSegment(file, '__DATA');
  const linkedit = findSegment(file, '__LINKEDIT');
  if (!data || !linkedit) return t.fail();
  Object.assign(data, { contents, filesize: size, vmsize: 0x40_0000n });
  Object.assign(linkedit, { fileoff: 0x40_0000, vmaddr: data.vmaddr + 0x40_0000n });
  const pieces = writeMachO(layoutMachO(file));
  t.is(asked, 0);
  let end = 0;
  for (const { offset, bytes } of pieces) {
    t.true(offset >= end);
    t.true(bytes.length <= 2 ** 20);
    end = offset + bytes.length;
  }
  t.is(asked, 4);
});

test('writeMachO() leaves external contents to the caller', t => {
  const file = tiny();
  const data = findSegment(file, '__DATA');
  if (!data) return t.fail();
  data.contents = undefined;
  t.throws(() => machoBytes(file), { instanceOf: FormatError, code: 'MACHO_EXTERNAL' });
  const layout = layoutMachO(file);
  const written = [...writeMachO(layout)];
  t.true(written.every(({ offset, bytes }) => offset + bytes.length <= 0x1000 || offset >= 0x2000));
  t.is(layout.size, machoBytes(tiny()).length);
});

test('writeMachO() notices a source that gives fewer bytes than it promised', t => {
  const file = tiny();
  const data = findSegment(file, '__DATA');
  if (!data) return t.fail();
  data.contents = { size: 0x1000, read: () => new Uint8Array(5) };
  t.throws(() => [...writeMachO(layoutMachO(file))], { instanceOf: FormatError, code: 'MACHO_LAYOUT' });
});

test('a file in a file is read from its offset', t => {
  const bytes = concat(new Uint8Array(100), machoBytes(tiny()));
  const file = readMachO(bytes, 100);
  t.is(Buffer.compare(machoBytes(file), bytes.subarray(100)), 0);
  t.throws(() => readMachO(bytes, bytes.length + 1), { instanceOf: FormatError, code: 'OUT_OF_RANGE' });
});

test('a core of many gigabytes costs a few pages to read, and is written in pieces', t => {
  const GIB = 2 ** 30;
  const file = core();
  let read = 0;
  const memory = {
    size: 3 * GIB,
    read: (_: number, length: number) => {
      read += length;
      return new Uint8Array(length);
    },
  };
  for (const [i, segment] of segmentsOf(file).entries()) {
    Object.assign(segment, {
      fileoff: 0x4000 + i * 3 * GIB,
      filesize: 3 * GIB,
      vmsize: 0xc000_0000n,
      contents: memory,
    });
  }
  const layout = layoutMachO(file);
  t.is(layout.size, 0x4000 + 9 * GIB);
  const [header] = writeMachO(layout);
  if (!header) return t.fail();
  const source = {
    size: layout.size,
    read: (offset: number, length: number) => {
      const bytes = memory.read(offset, length);
      if (offset < header.bytes.length) bytes.set(header.bytes.subarray(offset, offset + length));
      return bytes;
    },
  };
  read = 0;
  const again = readMachO(source);
  t.true(read < 0x8000);
  t.deepEqual(
    segmentsOf(again).map(({ fileoff, filesize }) => [fileoff, filesize]),
    segmentsOf(file).map(({ fileoff, filesize }) => [fileoff, filesize]),
  );
  t.is(layoutMachO(again).size, layout.size);
});

test('a stretch of the file is found wherever it is, and refused where nothing is', t => {
  const bytes = machoBytes(tiny());
  const file = withoutSource(readMachO(bytes));
  for (const { offset, contents } of file.linkedit) {
    if (offset === undefined || contentsSize(contents) === 0) continue;
    const found = atOffset(file, offset, contentsSize(contents));
    t.is(
      Buffer.compare(
        readContents(found, 0, contentsSize(found)),
        bytes.subarray(offset, offset + contentsSize(contents)),
      ),
      0,
    );
  }
  t.deepEqual([...readContents(atOffset(file, 0x1001, 3), 0, 3)], [2, 3, 4]);
  t.throws(() => atOffset(file, 0xfff, 2), { instanceOf: FormatError, code: 'MACHO_EXTERNAL' });
  // The source has what lies across the border of two things.
  t.is(contentsSize(atOffset(readMachO(bytes), 0xfff, 2)), 2);
  t.throws(() => atOffset(file, bytes.length, 1), { instanceOf: FormatError, code: 'MACHO_EXTERNAL' });
});
