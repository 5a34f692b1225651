/** The model of a file, and what is wrong with load commands. */
import test from 'ava';
import {
  contentsSize,
  FormatError,
  findBlob,
  isSegment,
  LC,
  load_command,
  mach_header_64,
  machoBytes,
  readMachO,
  SourceSlice,
  section_64,
  segment_command_64,
  segmentsOf,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, linked } from './support/tools.ts';

/** Where the command of this kind begins in a file. */
function commandAt(bytes: Uint8Array, cmd: number, skip = 0): number {
  let at = mach_header_64.size;
  for (let left = skip; ; ) {
    const command = load_command.read(viewOf(bytes), at, true);
    if (command.cmd === cmd && left-- === 0) return at;
    at += command.cmdsize;
  }
}

/** A file of ours with a u32 of its first command of this kind changed. */
function spoiled(cmd: number, at: number, value: number, skip = 0): Uint8Array {
  const bytes = machoBytes(tiny());
  viewOf(bytes).setUint32(commandAt(bytes, cmd, skip) + at, value, true);
  return bytes;
}

const TEXT = 1;
const fileoff = segment_command_64.offsets.fileoff;
const filesize = segment_command_64.offsets.filesize;

const refused = test.macro<[string, Uint8Array, string, RegExp]>({
  exec(t, _title, bytes, code, message) {
    t.throws(() => readMachO(bytes), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `readMachO() refuses ${title}`,
});
const BAD = 'MACHO_BAD_COMMAND';
test(
  refused,
  'a command without a size',
  spoiled(LC.LC_UUID, 4, 0),
  BAD,
  /\(LC_UUID\) is 0x0 at 0x[0-9a-f]+, expected a multiple of 4/,
);
test(refused, 'a command of an odd size', spoiled(LC.LC_UUID, 4, 25), BAD, /is 0x19/);
test(refused, 'a command beyond the others', spoiled(LC.LC_UUID, 4, 0x1000), BAD, /is 0x1000/);
test(
  refused,
  'a segment command that is too short',
  spoiled(LC.LC_SEGMENT_64, 4, 64),
  BAD,
  /is 0x40, expected 0x48/,
);
test(
  refused,
  'more sections than a command has',
  spoiled(LC.LC_SEGMENT_64, 64, 0xffff_ffff),
  BAD,
  /expected 0x/,
);
test(
  refused,
  'a segment beyond the end',
  spoiled(LC.LC_SEGMENT_64, fileoff, 0x7fff_ffff, TEXT),
  'MACHO_TRUNCATED',
  /LC_SEGMENT_64\) is 0x1000 bytes at 0x7fffffff/,
);
test(
  refused,
  'a segment that ends beyond the end',
  spoiled(LC.LC_SEGMENT_64, filesize, 0x4000, TEXT),
  'MACHO_TRUNCATED',
  /is 0x4000 bytes/,
);
test(
  refused,
  'a segment beyond 2^53',
  spoiled(LC.LC_SEGMENT_64, fileoff + 4, 0x20_0000, TEXT),
  'OUT_OF_RANGE',
  /fileoff of load command 1/,
);
test(
  refused,
  'symbols beyond the end',
  spoiled(LC.LC_SYMTAB, 8, 0x4000),
  'MACHO_TRUNCATED',
  /symbols is 0x20 bytes at 0x4000/,
);
test(
  refused,
  'so many symbols that the end is beyond 2^32',
  spoiled(LC.LC_SYMTAB, 12, 0xffff_ffff),
  'MACHO_TRUNCATED',
  /symbols is 0xffffffff0 bytes/,
);
test(
  refused,
  'LC_SYMTAB twice',
  spoiled(LC.LC_UUID, 0, LC.LC_SYMTAB),
  'MACHO_DUPLICATE_COMMAND',
  /LC_SYMTAB and another LC_SYMTAB/,
);
test(
  refused,
  'an LC_DYLD_INFO_ONLY that is too short',
  spoiled(LC.LC_UUID, 0, LC.LC_DYLD_INFO_ONLY),
  BAD,
  /LC_DYLD_INFO_ONLY is 0x18, expected at least 0x30/,
);

test('a segment of no bytes may be anywhere', t => {
  const bytes = spoiled(LC.LC_SEGMENT_64, fileoff, 0xffff_ffff);
  t.is(segmentsOf(readMachO(bytes))[0]?.fileoff, 0xffff_ffff);
  t.is(Buffer.compare(machoBytes(readMachO(bytes)), bytes), 0);
});

test('a part of __LINKEDIT of no bytes may be anywhere', t => {
  const bytes = spoiled(LC.LC_DATA_IN_CODE, 8, 0xffff_fff0);
  t.is(findBlob(readMachO(bytes), 'data-in-code')?.offset, 0xffff_fff0);
  t.is(Buffer.compare(machoBytes(readMachO(bytes)), bytes), 0);
});

test('contents stay in the source: reading headers reads little else', t => {
  const bytes = bytesOf(linked({ arch: 'arm64', fixups: 'chained' }));
  let read = 0;
  const counting = {
    size: bytes.length,
    read: (offset: number, length: number) => {
      read += length;
      return bytes.subarray(offset, offset + length);
    },
  };
  const file = readMachO(counting);
  t.true(read < 0x1000, `${read} bytes`);
  for (const segment of segmentsOf(file)) {
    if (segment.filesize > 0 && segment.segname !== '__LINKEDIT')
      t.true(segment.contents instanceof SourceSlice);
  }
  t.true(
    file.linkedit.every(({ contents }) => contentsSize(contents) === 0 || contents instanceof SourceSlice),
  );
});

test("commands are the file's own: they do not change with the bytes they were read from", t => {
  const bytes = machoBytes(tiny());
  const file = readMachO(bytes);
  const before = file.commands.flatMap(command => (isSegment(command) ? [] : [...command.bytes]));
  bytes.fill(0xff);
  t.deepEqual(
    file.commands.flatMap(command => (isSegment(command) ? [] : [...command.bytes])),
    before,
  );
});

test('names are sixteen bytes, whatever they are', t => {
  const bytes = machoBytes(tiny());
  const at = commandAt(bytes, LC.LC_SEGMENT_64, TEXT) + segment_command_64.size + section_64.offsets.sectname;
  bytes.set(
    Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i),
    at,
  );
  const file = readMachO(bytes);
  t.is(segmentsOf(file)[TEXT]?.sections[0]?.sectname.length, 16);
  t.is(Buffer.compare(machoBytes(file), bytes), 0);
});

test('what neither headers nor segments cover is kept, padding is not', t => {
  const bytes = machoBytes(tiny());
  const grown = new Uint8Array(bytes.length + 0x100);
  grown.set(bytes);
  grown.set([1, 2, 3], bytes.length + 0x20);
  const file = readMachO(grown);
  t.deepEqual(
    file.kept.map(({ offset, contents }) => [offset, contentsSize(contents)]),
    [[bytes.length, 0x100]],
  );
  t.deepEqual(readMachO(bytes).kept, []);
});
