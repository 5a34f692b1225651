/**
 * The tables by which a file imports and exports symbols: taken out of a file, and made ready to be put in
 * somewhere else. gABI 4.1, "Dynamic Section"; LSB 5.0 core, "Symbol Versioning".
 *
 * @module
 */
import { toNumber } from '../errors.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { DT, SHT } from './constants.ts';
import { badDynamic, bytesOf, type ElfDynamic, readDynamic, tableAt } from './dynamic.ts';
import { readDynamicSymbols } from './dynamic-symbols.ts';
import type { ElfFile } from './model.ts';
import { StringTableBuilder } from './strings.ts';
import { Elf64_Sym, LE } from './structs.ts';
import { encodeVersionNeeds, readDefinedVersions, readVersionNeeds, type VersionNeed } from './versions.ts';

export interface ImportTables {
  readonly dynsym: Uint8Array;
  readonly dynstr: Uint8Array;
  /** Undefined: no symbol has a version. */
  readonly versym: Uint8Array | undefined;
  readonly needs: readonly VersionNeed[];
  /** Highest index of a version that the file itself defines; 0: it defines none. */
  readonly lastDefined: number;
  readonly hash: Uint8Array | undefined;
  readonly gnuHash: Uint8Array | undefined;
}

/**
 * The tables of a file, found through its dynamic section.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_SYMBOLS`, `ELF_BAD_STRING`
 */
export function readImportTables(file: ElfFile): ImportTables {
  const entries = readDynamic(file);
  const count = readDynamicSymbols(file).length;
  const bytes = (
    tag: number,
    what: string,
    sizeOf: (table: ByteSource) => number,
  ): Uint8Array | undefined => {
    const table = tableAt(file, entries, tag);
    return table && bytesOf(table, what, 0, sizeOf(table)).slice();
  };
  const dynsym = bytes(DT.DT_SYMTAB, 'DT_SYMTAB', () => count * Elf64_Sym.size);
  const dynstr = bytes(DT.DT_STRTAB, 'DT_STRTAB', () =>
    toNumber('ELF: DT_STRSZ', valueOfTag(entries, DT.DT_STRSZ)),
  );
  if (!dynsym || !dynstr) throw badDynamic('there is no DT_SYMTAB or no DT_STRTAB, expected both');
  return {
    dynsym,
    dynstr,
    versym: bytes(DT.DT_VERSYM, 'DT_VERSYM', () => 2 * count),
    needs: readVersionNeeds(file),
    lastDefined: readDefinedVersions(file).reduce((a, b) => Math.max(a, b), 0),
    hash: bytes(DT.DT_HASH, 'DT_HASH', hashSize),
    gnuHash: bytes(DT.DT_GNU_HASH, 'DT_GNU_HASH', table => gnuHashSize(table, count)),
  };
}

const valueOfTag = (entries: readonly ElfDynamic[], tag: number): bigint =>
  entries.find(entry => entry.tag === tag)?.value ?? 0n;

/** nbucket, nchain, and as many words. */
function hashSize(table: ByteSource): number {
  const header = viewOf(bytesOf(table, 'DT_HASH', 0, 8));
  return 8 + 4 * (header.getUint32(0, LE) + header.getUint32(4, LE));
}

/** Bloom filter, buckets, and a chain entry for each symbol from symoffset on, if any bucket leads there. */
function gnuHashSize(table: ByteSource, count: number): number {
  const header = viewOf(bytesOf(table, 'DT_GNU_HASH', 0, 16));
  const bucketsAt = 16 + 8 * header.getUint32(8, LE);
  const end = bucketsAt + 4 * header.getUint32(0, LE);
  const buckets = bytesOf(table, 'DT_GNU_HASH', bucketsAt, end - bucketsAt);
  const isEmpty = buckets.every(byte => byte === 0);
  return end + (isEmpty ? 0 : 4 * Math.max(0, count - header.getUint32(4, LE)));
}

/** A table that the loader finds through an entry of the dynamic section. */
export interface EncodedTable {
  /** DT_*: the entry that holds its address. */
  readonly tag: number;
  /** SHT_* of the section that describes it, and its sh_info where that changes. */
  readonly type: number;
  readonly info?: number;
  readonly align: number;
  readonly contents: Uint8Array;
}

/**
 * The tables, to be placed one after the other: a reader of a file that exports nothing takes the symbols to
 * end where the next table begins. With them, the values of the dynamic section that are no addresses.
 */
export function encodeImportTables(tables: ImportTables): {
  tables: EncodedTable[];
  values: ReadonlyMap<number, bigint>;
} {
  const { dynsym, versym, needs, hash, gnuHash } = tables;
  const names = new StringTableBuilder(tables.dynstr);
  const verneed = encodeVersionNeeds(needs, name => names.add(name));
  const dynstr = names.bytes();
  const list: EncodedTable[] = [];
  if (gnuHash) list.push({ tag: DT.DT_GNU_HASH, type: SHT.SHT_GNU_HASH, align: 8, contents: gnuHash });
  if (hash) list.push({ tag: DT.DT_HASH, type: SHT.SHT_HASH, align: 8, contents: hash });
  list.push({ tag: DT.DT_SYMTAB, type: SHT.SHT_DYNSYM, align: 8, contents: dynsym });
  list.push({ tag: DT.DT_STRTAB, type: SHT.SHT_STRTAB, align: 1, contents: dynstr });
  if (versym) list.push({ tag: DT.DT_VERSYM, type: SHT.SHT_GNU_versym, align: 2, contents: versym });
  const values = new Map<number, bigint>([[DT.DT_STRSZ, BigInt(dynstr.length)]]);
  if (needs.length > 0) {
    const type = SHT.SHT_GNU_verneed;
    list.push({ tag: DT.DT_VERNEED, type, info: needs.length, align: 8, contents: verneed });
    values.set(DT.DT_VERNEEDNUM, BigInt(needs.length));
  }
  return { tables: list, values };
}
