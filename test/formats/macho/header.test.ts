/** Which files are ours to read; the others are refused by what they are. */
import test from 'ava';
import {
  CPU_TYPE,
  FormatError,
  isFat,
  isMachO,
  mach_header_64,
  machoBytes,
  pageSizeOf,
  readMachO,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, fat, linked } from './support/tools.ts';

type Fields = Partial<mach_header_64>;

/** A file with these header fields changed. */
function withHeader(fields: Fields): Uint8Array {
  const bytes = machoBytes(tiny());
  const header = mach_header_64.read(viewOf(bytes), 0, true);
  mach_header_64.write(viewOf(bytes), 0, { ...header, ...fields }, true);
  return bytes;
}

const refused = test.macro<[string, Uint8Array | Fields, string, RegExp]>({
  exec(t, _title, what, code, message) {
    const bytes = what instanceof Uint8Array ? what : withHeader(what);
    t.throws(() => readMachO(bytes), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `readMachO() refuses ${title}`,
});
test('a file that is ours is read', t => t.notThrows(() => readMachO(withHeader({}))));
test(refused, 'a file of 32 bits', { magic: 0xfeedface }, 'MACHO_UNSUPPORTED_32BIT', /of 32 bits/);
test(refused, 'a big-endian file', { magic: 0xcffaedfe }, 'MACHO_UNSUPPORTED_BIG_ENDIAN', /PowerPC/);
test(
  refused,
  'a big-endian file of 32 bits',
  { magic: 0xcefaedfe },
  'MACHO_UNSUPPORTED_BIG_ENDIAN',
  /PowerPC/,
);
test(refused, 'a fat file', { magic: 0xbebafeca }, 'MACHO_FAT', /several architectures/);
test(refused, 'a large fat file', { magic: 0xbfbafeca }, 'MACHO_FAT', /several architectures/);
test(
  refused,
  'an ELF file',
  Buffer.from('\x7fELF\x02\x01\x01'),
  'MACHO_BAD_MAGIC',
  /magic is 0x464c457f at 0x0/,
);
test(refused, 'an empty file', new Uint8Array(0), 'MACHO_BAD_MAGIC', /expected MH_MAGIC_64/);
test(refused, 'three bytes of magic', Uint8Array.of(0xcf, 0xfa, 0xed), 'MACHO_BAD_MAGIC', /magic/);
test(refused, 'a header that is cut off', withHeader({}).slice(0, 31), 'MACHO_TRUNCATED', /0x1f bytes/);
test(
  refused,
  'another machine',
  { cputype: 18 },
  'MACHO_UNSUPPORTED_CPU',
  /cputype is CPU_TYPE_POWERPC at 0x4/,
);
test(
  refused,
  'arm64_32',
  { cputype: CPU_TYPE.CPU_TYPE_ARM64_32 },
  'MACHO_UNSUPPORTED_CPU',
  /CPU_TYPE_ARM64_32/,
);
test(
  refused,
  'commands beyond the end',
  { sizeofcmds: 0x10_0000 },
  'MACHO_BAD_COMMANDS',
  /sizeofcmds is 0x100000/,
);
test(refused, 'more commands than have room', { ncmds: 10_000 }, 'MACHO_BAD_COMMANDS', /ncmds is 10000/);
test(
  refused,
  'fewer commands than sizeofcmds has',
  { ncmds: 1 },
  'MACHO_BAD_COMMANDS',
  /sizeofcmds is .* expected 0x48/,
);

test('isMachO() and isFat() know files by their first bytes', t => {
  const thin = machoBytes(tiny());
  const both = bytesOf(
    fat(linked({ arch: 'x86_64', fixups: 'chained' }), linked({ arch: 'arm64', fixups: 'chained' })),
  );
  t.deepEqual([isMachO(thin), isFat(thin)], [true, false]);
  t.deepEqual([isMachO(both), isFat(both)], [true, true]);
  t.true(isMachO(withHeader({ magic: 0xcefaedfe })));
  t.false(isMachO(Buffer.from('#!/bin/sh')));
  t.false(isMachO(thin.subarray(0, 3)));
  t.false(isFat(both.subarray(0, 3)));
});

test('pageSizeOf() is 16 KiB on arm64 and 4 KiB on x86-64', t => {
  t.is(pageSizeOf({ cputype: CPU_TYPE.CPU_TYPE_ARM64 }), 0x4000);
  t.is(pageSizeOf({ cputype: CPU_TYPE.CPU_TYPE_X86_64 }), 0x1000);
});
