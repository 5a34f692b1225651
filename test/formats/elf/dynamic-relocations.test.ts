/** Relocations of real files, judged by readelf and llvm-readobj. */
import { realpathSync } from 'node:fs';
import test from 'ava';
import { DT, SHT } from '../../../formats/elf/constants.ts';
import { readDynamic } from '../../../formats/elf/dynamic.ts';
import { readDynamicRelocations } from '../../../formats/elf/dynamic-relocations.ts';
import { findSection, sectionContents } from '../../../formats/elf/find.ts';
import type { ElfFile } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { decodeRela, relocationsOf } from '../../../formats/elf/relocations.ts';
import { decodeRelr, encodeRelr } from '../../../formats/elf/relr.ts';
import { Elf64_Dyn } from '../../../formats/elf/structs.ts';
import { FormatError } from '../../../formats/errors.ts';
import { viewOf } from '../../../formats/struct.ts';
import { withFile, withoutSections } from './support/files.ts';
import { byPlace, ourRelocations, theirRelocations } from './support/relocations.ts';
import { bytesOf, compile, output } from './support/tools.ts';

const SOURCE = `
#include <stdio.h>
int a, b;
int *words[200] = {&a, &b, &a, 0, &b, [70] = &a, [90] = &b, [199] = &a};
FILE **library = &stdout;
_Thread_local int local;
int (*volatile print)(const char *, ...) = printf;
int main(void) { local = *words[0]; print("%p %d", (void *)library, local); return puts(""); }
`;

const LINKED: readonly (readonly [string, readonly string[]])[] = [
  ['a position-independent program', []],
  ['one with DT_RELR', ['-Wl,-z,pack-relative-relocs']],
  ['one bound at the start', ['-Wl,-z,now']],
  ['one at a fixed address', ['-no-pie']],
  ['a static one', ['-static']],
  ['a static position-independent one', ['-static-pie']],
  ['a library', ['-shared', '-fPIC']],
];

for (const [what, flags] of LINKED) {
  test(`readDynamicRelocations() reads what readelf reads of ${what}`, t => {
    const path = compile(SOURCE, flags);
    const file = readElf(bytesOf(path));
    const theirs = theirRelocations(path);
    t.deepEqual(ourRelocations(file), theirs);
    t.true(theirs.length > 3);
    t.is(readDynamicRelocations(file).relr.length > 5, flags.includes('-Wl,-z,pack-relative-relocs'));
  });
}

for (const path of [
  '/usr/bin/perl',
  '/usr/bin/emacs',
  '/usr/lib/x86_64-linux-gnu/libc.so.6',
  '/usr/bin/gdb',
]) {
  test(`readDynamicRelocations() reads what readelf reads of ${path}`, t => {
    withFile(realpathSync(path), source =>
      t.deepEqual(ourRelocations(readElf(source)), theirRelocations(path)),
    );
  });
}

test('decodeRela() reads what readelf reads of an object, section by section', t => {
  const path = compile(SOURCE, ['-c']);
  const sections = readElf(bytesOf(path)).sections.filter(({ type }) => type === SHT.SHT_RELA);
  const ours = sections.flatMap(section => [...relocationsOf(decodeRela(sectionContents(section)))]);
  t.deepEqual(ours.sort(byPlace), theirRelocations(path).sort(byPlace));
  t.true(ours.length > 10);
});

test('encodeRelr() writes the entries that ld wrote, as llvm-readobj shows them', t => {
  const path = compile(SOURCE, ['-Wl,-z,pack-relative-relocs']);
  const section = findSection(readElf(bytesOf(path)), '.relr.dyn');
  t.not(section, undefined);
  const bytes = section ? sectionContents(section) : new Uint8Array();
  const again = encodeRelr(decodeRelr(bytes));
  t.deepEqual(again, bytes.slice());
  const view = viewOf(again);
  const words = Array.from({ length: again.length / 8 }, (_, i) => view.getBigUint64(8 * i, true));
  const said = output('llvm-readobj', ['--raw-relr', '-r', path]).split('.relr.dyn {')[1] ?? '';
  t.deepEqual(
    words,
    [...said.matchAll(/0x[0-9A-F]+/g)].map(([word]) => BigInt(word)),
  );
  t.true(words.length > 3);
});

test('readDynamicRelocations() needs no section headers', t => {
  const bytes = bytesOf(compile(SOURCE, ['-Wl,-z,pack-relative-relocs']));
  t.deepEqual(
    readDynamicRelocations(readElf(withoutSections(bytes))),
    readDynamicRelocations(readElf(bytes)),
  );
});

/** The file with one dynamic entry changed. */
function withEntry(bytes: Uint8Array, tag: number, entry: { tag?: number; value?: bigint }): ElfFile {
  const copy = bytes.slice();
  const file = readElf(copy);
  const index = readDynamic(file).findIndex(dynamic => dynamic.tag === tag);
  const at = (findSection(file, '.dynamic')?.offset ?? 0) + index * Elf64_Dyn.size;
  const was = Elf64_Dyn.read(viewOf(copy), at, true);
  const d_tag = BigInt(entry.tag ?? Number(was.d_tag));
  Elf64_Dyn.write(viewOf(copy), at, { d_tag, d_un: entry.value ?? was.d_un }, true);
  return readElf(copy);
}

const program = bytesOf(compile(SOURCE, ['-Wl,-z,pack-relative-relocs']));

const spoiled = test.macro<[number, { tag?: number; value?: bigint }, string, RegExp]>({
  exec(t, tag, entry, code, message) {
    const file = withEntry(program, tag, entry);
    const error = t.throws(() => readDynamicRelocations(file), { instanceOf: FormatError });
    t.is(error?.code, code);
    t.regex(error?.message ?? '', message);
  },
  title: what => `readDynamicRelocations() refuses ${what}`,
});

test('DT_REL', spoiled, DT.DT_RELA, { tag: DT.DT_REL }, 'ELF_UNSUPPORTED_REL', /there is a DT_REL, expected/);
test(
  'functions in DT_REL',
  spoiled,
  DT.DT_PLTREL,
  { value: 17n },
  'ELF_UNSUPPORTED_REL',
  /DT_PLTREL is DT_REL/,
);
test(
  'a table without its size',
  spoiled,
  DT.DT_RELASZ,
  { tag: DT.DT_DEBUG },
  'ELF_BAD_DYNAMIC',
  /DT_RELA without DT_RELASZ/,
);
test(
  'a size past the end',
  spoiled,
  DT.DT_RELASZ,
  { value: 24n * 10000n },
  'ELF_BAD_DYNAMIC',
  /DT_RELA goes on to byte/,
);
test(
  'a size beyond 2^53',
  spoiled,
  DT.DT_RELRSZ,
  { value: 2n ** 60n },
  'OUT_OF_RANGE',
  /DT_RELRSZ is 0x1000000000000000/,
);
test(
  'a size that is no multiple',
  spoiled,
  DT.DT_PLTRELSZ,
  { value: 23n },
  'ELF_BAD_RELOCATIONS',
  /0x17 bytes/,
);
test(
  'an address in no segment',
  spoiled,
  DT.DT_RELR,
  { value: 2n ** 63n },
  'ELF_BAD_DYNAMIC',
  /DT_RELR is 0x8000000000000000/,
);
