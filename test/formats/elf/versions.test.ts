import { readFileSync, realpathSync } from 'node:fs';
import test from 'ava';
import { DT, PT } from '../../../formats/elf/constants.ts';
import { readDynamic } from '../../../formats/elf/dynamic.ts';
import { readDynamicSymbols } from '../../../formats/elf/dynamic-symbols.ts';
import { atAddress } from '../../../formats/elf/find.ts';
import { newElf, newSegment } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { Elf64_Dyn } from '../../../formats/elf/structs.ts';
import { readSymbolVersions } from '../../../formats/elf/versions.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { bytesOf, compile, output } from './support/tools.ts';

const libc = realpathSync(/\S+\/libc\.so\.6/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? '');

for (const path of [
  libc,
  compile('#include <string.h>\nint main(int c, char **v) { return strlen(*v) + c; }', []),
]) {
  test(`readSymbolVersions() names the versions that readelf names in ${path === libc ? 'the C library' : 'a program'}`, t => {
    const file = readElf(bytesOf(path));
    const symbols = readDynamicSymbols(file);
    const versions = readSymbolVersions(file, symbols.length);
    const ours = symbols.map(({ name }, i) => {
      const version = versions[i];
      // readelf does not say of the symbol GLIBC_2.14 that its version is GLIBC_2.14.
      return version && version.name !== name
        ? `${name}@${version.isDefault ? '@' : ''}${version.name}`
        : name;
    });
    const table = output('readelf', ['--dyn-syms', '-W', path]);
    const theirs = [...table.matchAll(/^ *\d+: (?:\S+ +){5}\S+ ?(\S*)( \(\d+\))?$/gm)].map(
      ([, name]) => name,
    );
    t.deepEqual(ours, theirs);
    t.true(versions.some(version => version?.name === 'GLIBC_2.2.5'));
  });
}

test('readSymbolVersions() says which library a version is wanted from', t => {
  const file = readElf(
    bytesOf(compile('#include <math.h>\nint main(int c, char **v) { return cos(c); }', ['-lm'])),
  );
  const symbols = readDynamicSymbols(file);
  const cos = symbols.findIndex(({ name }) => name === 'cos');
  t.deepEqual(readSymbolVersions(file, symbols.length)[cos], {
    name: 'GLIBC_2.2.5',
    library: 'libm.so.6',
    isDefault: false,
  });
});

test('readSymbolVersions() finds none in a library without versions', t => {
  const file = readElf(bytesOf(compile('int a;', ['-shared', '-nostdlib'])));
  t.deepEqual(readSymbolVersions(file, readDynamicSymbols(file).length), []);
});

const spoiled = test.macro<[string, number, number, number, RegExp]>({
  exec(t, _title, tag, offset, value, message) {
    const bytes = bytesOf(libc);
    const file = readElf(bytes);
    const address = readDynamic(file).find(entry => entry.tag === tag)?.value ?? 0n;
    new DataView(bytes.buffer).setUint32((atAddress(file, address)?.offset ?? 0) + offset, value, true);
    t.throws(() => readSymbolVersions(file, 100), { instanceOf: FormatError, message });
  },
  title: (_, title) => `readSymbolVersions() refuses ${title}`,
});
test(spoiled, 'a chain of definitions that goes on byte by byte', DT.DT_VERDEF, 16, 1, /DT_VERDEF/);
test(spoiled, 'a definition past the end of its segment', DT.DT_VERDEF, 16, 0xffffffff, /DT_VERDEF goes on/);
test(spoiled, 'a version name outside of the strings', DT.DT_VERNEED, 4, 0x7fffffff, /no terminated string/);
test(
  spoiled,
  'a symbol with a version that the file does not have',
  DT.DT_VERSYM,
  20,
  0x7ffe7ffe,
  /version index of dynamic symbol 10/,
);

test('readSymbolVersions() refuses chains that lead on for longer than there can be versions', t => {
  // As an Elf64_Verneed and as an Elf64_Vernaux, four everywhere: go on four bytes later.
  const image = new Uint8Array(0x100000);
  new Uint32Array(image.buffer).fill(4);
  const entries = [
    { d_tag: BigInt(DT.DT_STRTAB), d_un: 0x1100n },
    { d_tag: BigInt(DT.DT_STRSZ), d_un: 16n },
    { d_tag: BigInt(DT.DT_VERSYM), d_un: 0x1200n },
    { d_tag: BigInt(DT.DT_VERNEED), d_un: 0x2000n },
    { d_tag: 0n, d_un: 0n },
  ];
  for (const [i, entry] of entries.entries()) image.set(Elf64_Dyn.encode(entry, true), i * Elf64_Dyn.size);
  image.fill(0, 0x100, 0x110);
  const file = newElf({ type: 3 });
  file.kept.push({ offset: 0x1000, contents: image });
  const place = { offset: 0x1000, address: 0x1000n, fileSize: image.length, memorySize: image.length };
  file.segments.push(newSegment({ type: PT.PT_LOAD, flags: 4, ...place }));
  file.segments.push(newSegment({ type: PT.PT_DYNAMIC, flags: 4, ...place, fileSize: 80 }));
  t.throws(() => readSymbolVersions(readElf(elfBytes(file)), 1), {
    instanceOf: FormatError,
    code: 'ELF_BAD_DYNAMIC',
    message: /DT_VERNEED has more than 32768 entries/,
  });
});

test('readSymbolVersions() refuses more symbols than DT_VERSYM can hold', t => {
  t.throws(() => readSymbolVersions(readElf(bytesOf(libc)), 2 ** 31), {
    code: 'ELF_BAD_DYNAMIC',
    message: /DT_VERSYM goes on/,
  });
});
