import test from 'ava';
import { DT, STB, STT } from '../../../formats/elf/constants.ts';
import { elfHash, gnuHash } from '../../../formats/elf/hash.ts';
import { importSymbols, type NewImport, renumberSymbols } from '../../../formats/elf/import-symbols.ts';
import {
  encodeImportTables,
  type ImportTables,
  readImportTables,
} from '../../../formats/elf/import-tables.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { relaTableOf } from '../../../formats/elf/relocations.ts';
import { StringTable } from '../../../formats/elf/strings.ts';
import { decodeSymbols, type ElfSymbol } from '../../../formats/elf/symbols.ts';
import { FormatError } from '../../../formats/errors.ts';
import { viewOf } from '../../../formats/struct.ts';
import { compiled } from './support/tools.ts';

const { STT_FUNC, STT_OBJECT } = STT;
const SOURCE = `
#include <stdio.h>
#include <math.h>
int exported_one, exported_two; void exported_function(void) {}
int main(int argc, char **argv) { fprintf(stdout, "%f", cos(argc)); return 0; }
`;

const LINKED: readonly (readonly [string, readonly string[]])[] = [
  ['a program that exports nothing', ['-lm']],
  ['a program that exports all', ['-lm', '-rdynamic']],
  ['a program with copy relocations', ['-lm', '-no-pie', '-rdynamic']],
  ['both hash tables', ['-lm', '-rdynamic', '-Wl,--hash-style=both']],
  ['DT_HASH alone', ['-lm', '-rdynamic', '-Wl,--hash-style=sysv']],
  ['a library', ['-lm', '-shared', '-fPIC']],
  ['a static position-independent program, without versions', ['-lm', '-static-pie']],
];

const IMPORTS: readonly NewImport[] = [
  { name: 'strtol', type: STT_FUNC, wanted: { library: 'libc.so.6', version: 'GLIBC_2.2.5' } },
  { name: 'memcpy', type: STT_FUNC, wanted: { library: 'libc.so.6', version: 'GLIBC_2.14' } },
  { name: 'memcpy', type: STT_FUNC, wanted: { library: 'libc.so.6', version: 'GLIBC_2.2.5' } },
  { name: 'strtol', type: STT_FUNC, wanted: { library: 'libc.so.6', version: 'GLIBC_2.2.5' } },
  { name: 'xdata', type: STT_OBJECT, bind: STB.STB_WEAK },
  { name: 'inflate', type: STT_FUNC, wanted: { library: 'libz.so.1', version: 'ZLIB_1.2' } },
];

const symbolsOf = ({ dynsym, dynstr }: ImportTables): ElfSymbol[] =>
  decodeSymbols(dynsym, new StringTable(dynstr));

/** `name@VERSION@library` of each symbol, as far as it has one. */
function versionedNames(tables: ImportTables): string[] {
  const versions = new Map(
    tables.needs.flatMap(({ library, versions }) =>
      versions.map(({ index, name }) => [index, `@${name}@${library}`] as const),
    ),
  );
  const versym = tables.versym && viewOf(tables.versym);
  return symbolsOf(tables).map(
    ({ name }, i) => name + (versions.get(versym?.getUint16(2 * i, true) ?? 0) ?? ''),
  );
}

for (const [what, flags] of LINKED) {
  const tables = readImportTables(readElf(compiled(SOURCE, flags)));

  test(`importSymbols() keeps all symbols and their versions in ${what}`, t => {
    const { tables: after, inserted, indices } = importSymbols(tables, IMPORTS);
    t.is(inserted.count, 5);
    const names = versionedNames(after);
    t.deepEqual(
      [...indices].map(index => names[index]),
      [
        'strtol@GLIBC_2.2.5@libc.so.6',
        'memcpy@GLIBC_2.14@libc.so.6',
        'memcpy@GLIBC_2.2.5@libc.so.6',
        'strtol@GLIBC_2.2.5@libc.so.6',
        'xdata',
        'inflate@ZLIB_1.2@libz.so.1',
      ],
    );
    const symbols = symbolsOf(after);
    t.deepEqual(symbols.toSpliced(inserted.at, inserted.count), symbolsOf(tables));
    t.deepEqual(names.toSpliced(inserted.at, inserted.count), versionedNames(tables));
    for (const symbol of symbols.slice(inserted.at, inserted.at + inserted.count))
      t.is(symbol.sectionIndex, 0);
    t.is(symbols[indices[4] ?? 0]?.bind, STB.STB_WEAK);
    t.is(after.versym?.length, 2 * symbols.length);
  });

  test(`importSymbols() leaves every defined symbol where a lookup finds it in ${what}`, t => {
    const { tables: after } = importSymbols(tables, IMPORTS);
    const symbols = symbolsOf(after);
    let found = 0;
    for (const [i, { name, sectionIndex, bind }] of symbols.entries()) {
      if (sectionIndex === 0 || bind === STB.STB_LOCAL) continue;
      if (after.gnuHash) t.is(lookupGnu(after.gnuHash, symbols, name), i, name);
      if (after.hash) t.is(lookupSysv(after.hash, symbols, name), i, name);
      found++;
    }
    t.is(found > 2, flags.includes('-rdynamic') || flags.includes('-shared'));
    // Undefined symbols are in DT_HASH, too, and DT_HASH says how many symbols there are.
    if (after.hash) t.is(viewOf(after.hash).getUint32(4, true), symbols.length);
    if (after.hash) t.is(symbols[lookupSysv(after.hash, symbols, 'inflate') ?? 0]?.name, 'inflate');
  });

  test(`importSymbols() of nothing, and again of the same, changes nothing in ${what}`, t => {
    t.deepEqual(importSymbols(tables, []).tables, tables);
    const once = importSymbols(tables, IMPORTS);
    const twice = importSymbols(once.tables, IMPORTS);
    t.deepEqual(twice.tables, once.tables);
    t.deepEqual(twice.indices, once.indices);
    t.is(twice.inserted.count, 0);
  });
}

/** do_lookup_x() of glibc. */
function lookupGnu(table: Uint8Array, symbols: readonly ElfSymbol[], name: string): number | undefined {
  const view = viewOf(table);
  const word = (index: number): number => view.getUint32(4 * index, true);
  const [nbuckets, symoffset, bloomSize, shift] = [word(0), word(1), word(2), word(3)];
  const hash = gnuHash(name);
  const bloom = view.getBigUint64(16 + 8 * (Math.floor(hash / 64) % bloomSize), true);
  const isSet = (bit: number): boolean => ((bloom >> BigInt(bit % 64)) & 1n) === 1n;
  if (!isSet(hash) || !isSet(hash >>> shift)) return undefined;
  const buckets = 4 + 2 * bloomSize;
  let symbol = word(buckets + (hash % nbuckets));
  if (symbol === 0) return undefined;
  for (; ; symbol++) {
    const entry = word(buckets + nbuckets + symbol - symoffset);
    if ((entry | 1) >>> 0 === (hash | 1) >>> 0 && symbols[symbol]?.name === name) return symbol;
    if ((entry & 1) === 1) return undefined;
  }
}

/** gABI, "Hash Table". */
function lookupSysv(table: Uint8Array, symbols: readonly ElfSymbol[], name: string): number | undefined {
  const view = viewOf(table);
  const word = (index: number): number => view.getUint32(4 * index, true);
  const nbucket = word(0);
  for (let symbol = word(2 + (elfHash(name) % nbucket)); symbol !== 0; symbol = word(2 + nbucket + symbol)) {
    if (symbols[symbol]?.name === name) return symbol;
  }
  return undefined;
}

const tables = readImportTables(readElf(compiled(SOURCE, ['-lm', '-rdynamic'])));

test('importSymbols() finds what is imported already, in the same version', t => {
  const wanted = { library: 'libm.so.6', version: 'GLIBC_2.2.5' };
  const { indices, inserted } = importSymbols(tables, [{ name: 'cos', type: STT_FUNC, wanted }]);
  t.is(inserted.count, 0);
  t.is(symbolsOf(tables)[indices[0] ?? 0]?.name, 'cos');
  t.is(importSymbols(tables, [{ name: 'cos', type: STT_FUNC }]).inserted.count, 1);
});

test('importSymbols() wants versions without symbols, and says where the names of libraries are', t => {
  const version = { library: 'libc.so.6', version: 'GLIBC_ABI_DT_RELR' };
  const after = importSymbols(tables, [], [version]);
  t.is(after.inserted.count, 0);
  const libc = after.tables.needs.find(({ library }) => library === 'libc.so.6');
  t.true(libc?.versions.some(({ name }) => name === 'GLIBC_ABI_DT_RELR'));
  const names = new StringTable(after.tables.dynstr);
  t.deepEqual(
    [...after.libraries].map(([library, offset]) => [library, names.at(offset)]),
    [['libc.so.6', 'libc.so.6']],
  );
});

test('importSymbols() refuses a name that the file defines itself', t => {
  const error = t.throws(() => importSymbols(tables, [{ name: 'exported_one', type: STT_OBJECT }]), {
    instanceOf: FormatError,
  });
  t.is(error?.code, 'ELF_IMPORT_DEFINED');
  t.regex(error?.message ?? '', /"exported_one" is a symbol of the file itself/);
});

test('importSymbols() refuses the version that would be number 0x8000', t => {
  const wanted = (i: number) => ({ library: 'l.so', version: `V${i}` });
  const full = importSymbols({ ...tables, lastDefined: 0x7ffe }, [], [wanted(1)]);
  const error = t.throws(() => importSymbols(full.tables, [], [wanted(2)]), { instanceOf: FormatError });
  t.is(error?.code, 'ELF_TOO_MANY_VERSIONS');
});

test('importSymbols() refuses a DT_GNU_HASH that begins behind the symbols', t => {
  const spoiled = tables.gnuHash?.slice();
  if (spoiled) viewOf(spoiled).setUint32(4, 10_000, true);
  const error = t.throws(() => importSymbols({ ...tables, gnuHash: spoiled }, IMPORTS), {
    instanceOf: FormatError,
  });
  t.is(error?.code, 'ELF_BAD_DYNAMIC');
});

test('renumberSymbols() moves the symbols of relocations behind the insertion', t => {
  const table = relaTableOf([0, 4, 5, 6].map(symbol => ({ offset: 8n, type: 1, symbol })));
  t.deepEqual([...renumberSymbols(table, { at: 5, count: 3 }).symbols], [0, 4, 8, 9]);
});

test('encodeImportTables() gives each table with its tag, the strings right behind the symbols', t => {
  const { tables: list, values } = encodeImportTables(importSymbols(tables, IMPORTS).tables);
  t.deepEqual(
    list.map(({ tag }) => tag),
    [DT.DT_GNU_HASH, DT.DT_SYMTAB, DT.DT_STRTAB, DT.DT_VERSYM, DT.DT_VERNEED],
  );
  t.is(values.get(DT.DT_VERNEEDNUM), 3n);
  t.is(values.get(DT.DT_STRSZ), BigInt(list[2]?.contents.length ?? 0));
});
