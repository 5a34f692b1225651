/**
 * More imports for a linked file: new entries in .dynsym, .dynstr, .gnu.version and .gnu.version_r, with both
 * hash tables kept right. Tables in, tables out; where they go is the caller's.
 *
 * The new symbols come right before those that DT_GNU_HASH has, because everything from its symoffset on is
 * hashed and sorted by bucket. So the indices of the hashed ones (what the file itself defines) grow, and the
 * relocations for them are renumbered in their place (`renumberSymbols`). The other way, symbols behind the
 * hashed ones, would need no renumbering, and ld.so would take it; but then no reader that counts symbols by the
 * hash table (readelf -D, gdb, we) would find them, and those that count by section would read past its chains.
 *
 * gABI 4.1, "Symbol Table"; LSB 5.0 core, "Symbol Versioning"; glibc 2.36, elf/dl-lookup.c.
 *
 * @module
 */
import { FormatError } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { SHN, STB, VER_NDX } from './constants.ts';
import { growGnuHash, growHash, type Insertion, insertionPoint, renumbered } from './grow-hash-tables.ts';
import type { ImportTables } from './import-tables.ts';
import type { RelaTable } from './relocations.ts';
import { StringTable, StringTableBuilder } from './strings.ts';
import { Elf64_Sym, LE } from './structs.ts';
import { decodeSymbols } from './symbols.ts';
import type { NeededVersion, VersionNeed } from './versions.ts';

/** A version of a library. */
export interface WantedVersion {
  /** As DT_NEEDED calls it: `libc.so.6`. */
  readonly library: string;
  readonly version: string;
}

/** A symbol to be imported. */
export interface NewImport {
  readonly name: string;
  /** STT_*. */
  readonly type: number;
  /** STB_*; default: STB_GLOBAL. */
  readonly bind?: number;
  /** Default: any version that the first library with the symbol has. */
  readonly wanted?: WantedVersion | undefined;
}

export interface ImportedSymbols {
  readonly tables: ImportTables;
  /** Index of each of the imports: a new one, or that of an import which was there already. */
  readonly indices: Uint32Array;
  /** What that does to the indices of the others. */
  readonly inserted: Insertion;
  /** Where the names of the libraries are in the new dynstr, for a DT_NEEDED that is missing. */
  readonly libraries: ReadonlyMap<string, number>;
}

/**
 * Adds imports to the tables. One that is there already, in the same version, is found and not added again.
 *
 * @param versions versions that are wanted without any symbol, such as GLIBC_ABI_DT_RELR of libc.so.6
 * @throws FormatError `ELF_IMPORT_DEFINED` for a name that the file itself defines, which is what a loader
 *   would find; `ELF_TOO_MANY_VERSIONS`; `ELF_BAD_DYNAMIC` for tables that contradict themselves
 */
export function importSymbols(
  tables: ImportTables,
  imports: readonly NewImport[],
  versions: readonly WantedVersion[] = [],
): ImportedSymbols {
  // 1. The versions, and which symbols are new.
  const wanted = [...imports.flatMap(symbol => symbol.wanted ?? []), ...versions];
  const needs = addVersions(tables, wanted);
  const versionOf = ({ wanted }: NewImport): number =>
    wanted ? indexOfVersion(needs, wanted) : VER_NDX.VER_NDX_GLOBAL;
  const symbols = presentSymbols(tables);
  const added = new Map<string, { symbol: NewImport; version: number; position: number }>();
  for (const symbol of imports) {
    if (symbols.defined.has(symbol.name)) throw alreadyDefined(symbol.name);
    const key = keyOf(symbol.name, versionOf(symbol));
    if (symbols.imported.has(key) || added.has(key)) continue;
    added.set(key, { symbol, version: versionOf(symbol), position: added.size });
  }
  const at = insertionPoint(tables.gnuHash, symbols.count);
  const inserted = { at, count: added.size };

  // 2. The tables with them.
  const names = new StringTableBuilder(tables.dynstr);
  const news = [...added.values()];
  const entries = news.map(({ symbol }) => symbolEntry(symbol, names.add(symbol.name)));
  const versyms = news.map(({ version }) => version);
  for (const { library, version } of wanted) for (const name of [library, version]) names.add(name);
  return {
    tables: {
      dynsym: insert(tables.dynsym, at * Elf64_Sym.size, concatenate(entries)),
      dynstr: names.bytes(),
      versym: tables.versym || needs.length > 0 ? insertVersions(tables, symbols, at, versyms) : undefined,
      needs,
      lastDefined: tables.lastDefined,
      hash:
        tables.hash &&
        growHash(
          tables.hash,
          inserted,
          news.map(({ symbol }) => symbol.name),
        ),
      gnuHash: tables.gnuHash && growGnuHash(tables.gnuHash, inserted),
    },
    indices: Uint32Array.from(imports, symbol => {
      const key = keyOf(symbol.name, versionOf(symbol));
      const position = added.get(key)?.position;
      return position === undefined ? renumbered(symbols.imported.get(key) ?? 0, inserted) : at + position;
    }),
    inserted,
    libraries: new Map(wanted.map(({ library }) => [library, names.add(library)])),
  };
}

/** Relocations for the same symbols at their new indices. */
export const renumberSymbols = (table: RelaTable, inserted: Insertion): RelaTable => ({
  ...table,
  symbols: table.symbols.map(symbol => renumbered(symbol, inserted)),
});

/** A symbol in one version. */
const keyOf = (name: string, version: number): string => `${version} ${name}`;

interface PresentSymbols {
  readonly count: number;
  /** Names of symbols that the file itself has. */
  readonly defined: ReadonlySet<string>;
  /** Indices of the others, by key. */
  readonly imported: ReadonlyMap<string, number>;
  /** Which are local. */
  readonly locals: number;
}

function presentSymbols(tables: ImportTables): PresentSymbols {
  const symbols = decodeSymbols(tables.dynsym, new StringTable(tables.dynstr));
  const versym = tables.versym && viewOf(tables.versym);
  const defined = new Set<string>();
  const imported = new Map<string, number>();
  let locals = 0;
  for (const [i, { name, bind, sectionIndex }] of symbols.entries()) {
    if (bind === STB.STB_LOCAL) locals = i + 1;
    else if (sectionIndex !== SHN.SHN_UNDEF) defined.add(name);
    else {
      const version = versym ? versym.getUint16(2 * i, LE) & 0x7fff : 0;
      imported.set(keyOf(name, Math.max(version, VER_NDX.VER_NDX_GLOBAL)), i);
    }
  }
  return { count: symbols.length, defined, imported, locals };
}

/** What the file wants of libraries, with these versions. */
function addVersions({ needs, lastDefined }: ImportTables, wanted: readonly WantedVersion[]): VersionNeed[] {
  const all = new Map(needs.map(({ library, versions }) => [library, [...versions]]));
  let last = Math.max(lastDefined, VER_NDX.VER_NDX_GLOBAL);
  for (const versions of all.values())
    for (const { index } of versions) last = Math.max(last, index & 0x7fff);
  for (const { library, version } of wanted) {
    const versions: NeededVersion[] = all.get(library) ?? [];
    all.set(library, versions);
    if (versions.some(({ name }) => name === version)) continue;
    if (++last > 0x7fff) throw tooManyVersions(version);
    versions.push({ name: version, flags: 0, index: last });
  }
  return [...all].map(([library, versions]) => ({ library, versions }));
}

const indexOfVersion = (needs: readonly VersionNeed[], { library, version }: WantedVersion): number =>
  needs.find(need => need.library === library)?.versions.find(({ name }) => name === version)?.index ??
  VER_NDX.VER_NDX_GLOBAL;

const symbolEntry = ({ type, bind = STB.STB_GLOBAL }: NewImport, name: number): Uint8Array =>
  Elf64_Sym.encode(
    {
      st_name: name,
      st_info: (bind << 4) | type,
      st_other: 0,
      st_shndx: SHN.SHN_UNDEF,
      st_value: 0n,
      st_size: 0n,
    },
    LE,
  );

/** The versions of all symbols; where the file had none, the old ones are global. */
function insertVersions(
  { versym }: ImportTables,
  { count, locals }: PresentSymbols,
  at: number,
  added: readonly number[],
): Uint8Array {
  const old =
    versym ?? encodeVersions(Array.from({ length: count }, (_, i) => (i < Math.max(1, locals) ? 0 : 1)));
  return insert(old, 2 * at, encodeVersions(added));
}

function encodeVersions(versions: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 * versions.length);
  for (const [i, version] of versions.entries()) viewOf(bytes).setUint16(2 * i, version, LE);
  return bytes;
}

const insert = (bytes: Uint8Array, at: number, added: Uint8Array): Uint8Array =>
  concatenate([bytes.subarray(0, at), added, bytes.subarray(at)]);

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

const alreadyDefined = (name: string): FormatError =>
  new FormatError(
    'ELF_IMPORT_DEFINED',
    `ELF: ${JSON.stringify(name)} is a symbol of the file itself, expected one of a library to be imported`,
    { value: name },
  );

const tooManyVersions = (version: string): FormatError =>
  new FormatError(
    'ELF_TOO_MANY_VERSIONS',
    `ELF: version ${JSON.stringify(version)} would have index 0x8000, expected at most 0x7fff`,
    { value: version },
  );
