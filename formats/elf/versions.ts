/**
 * Symbol versions: which `memcpy` a library defines or a program wants. Found through DT_VERSYM,
 * DT_VERDEF and DT_VERNEED, so section headers are not needed. LSB 5.0 core, "Symbol Versioning".
 *
 * @module
 */
import type { ByteSource } from '../source.ts';
import { type FieldValues, type Struct, viewOf } from '../struct.ts';
import { DT, VER_NDX } from './constants.ts';
import { badDynamic, bytesOf, dynamicStringTable, readDynamic, tableAt } from './dynamic.ts';
import { elfHash } from './hash.ts';
import type { ElfFile } from './model.ts';
import type { StringTable } from './strings.ts';
import { Elf64_Verdaux, Elf64_Verdef, Elf64_Vernaux, Elf64_Verneed, LE } from './structs.ts';

export interface SymbolVersion {
  /** `GLIBC_2.2.5`. */
  readonly name: string;
  /** The library that is to have it; undefined for a version that the file itself defines. */
  readonly library: string | undefined;
  /** The one that a link takes: `memcpy@@GLIBC_2.14`, not `memcpy@GLIBC_2.2.5`. */
  readonly isDefault: boolean;
}

/** By the index that SHT_GNU_versym uses. */
type Versions = Map<number, Omit<SymbolVersion, 'isDefault'>>;

/** Bit 15 of an index in SHT_GNU_versym: not the default version. */
const HIDDEN = 0x8000;

/**
 * The version of each of `count` dynamic symbols, at the index of the symbol, and undefined for one without
 * a version; an empty array for a file without versions.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_STRING`
 */
export function readSymbolVersions(file: ElfFile, count: number): (SymbolVersion | undefined)[] {
  const entries = readDynamic(file);
  const versym = tableAt(file, entries, DT.DT_VERSYM);
  if (!versym) return [];
  const names = dynamicStringTable(file, entries);
  const versions: Versions = new Map();
  const defined = tableAt(file, entries, DT.DT_VERDEF);
  if (defined) readDefined(defined, names, versions);
  const needed = tableAt(file, entries, DT.DT_VERNEED);
  if (needed) readNeeded(needed, names, versions);

  const view = viewOf(bytesOf(versym, 'DT_VERSYM', 0, 2 * count));
  return Array.from({ length: count }, (_, symbol) => {
    const field = view.getUint16(2 * symbol, LE);
    const index = field & ~HIDDEN;
    if (index <= VER_NDX.VER_NDX_GLOBAL) return undefined;
    const version = versions.get(index);
    if (version) return { ...version, isDefault: version.library === undefined && (field & HIDDEN) === 0 };
    throw badDynamic(
      `the version index of dynamic symbol ${symbol} is ${index}, expected a version of the file`,
      index,
    );
  });
}

function readDefined(table: ByteSource, names: StringTable, into: Versions): void {
  const entries = new ChainReader(table, 'DT_VERDEF');
  for (const [at, { vd_ndx, vd_aux }] of entries.chain(Elf64_Verdef, 0, ({ vd_next }) => vd_next)) {
    // The first name is the version's own; the others are what it inherits.
    const { vda_name } = entries.read(Elf64_Verdaux, at + vd_aux);
    into.set(vd_ndx, { name: names.at(vda_name), library: undefined });
  }
}

function readNeeded(table: ByteSource, names: StringTable, into: Versions): void {
  for (const { library, versions } of decodeVersionNeeds(table, names)) {
    for (const { index, name } of versions) into.set(index, { name, library });
  }
}

/**
 * The indices of the versions that a file itself defines; none for a file without DT_VERDEF.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_STRING`
 */
export function readDefinedVersions(file: ElfFile): number[] {
  const entries = readDynamic(file);
  const defined = tableAt(file, entries, DT.DT_VERDEF);
  const versions: Versions = new Map();
  if (defined) readDefined(defined, dynamicStringTable(file, entries), versions);
  return [...versions.keys()];
}

/** What a file wants of one library. */
export interface VersionNeed {
  /** As in DT_NEEDED: `libc.so.6`. */
  readonly library: string;
  readonly versions: readonly NeededVersion[];
}

export interface NeededVersion {
  readonly name: string;
  /** VER_FLG_*. */
  readonly flags: number;
  /** The index that SHT_GNU_versym uses for this version. */
  readonly index: number;
}

/**
 * The versions that a file wants, by library; none for a file without DT_VERNEED.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_STRING`
 */
export function readVersionNeeds(file: ElfFile): VersionNeed[] {
  const entries = readDynamic(file);
  const needed = tableAt(file, entries, DT.DT_VERNEED);
  return needed ? decodeVersionNeeds(needed, dynamicStringTable(file, entries)) : [];
}

function decodeVersionNeeds(table: ByteSource, names: StringTable): VersionNeed[] {
  const entries = new ChainReader(table, 'DT_VERNEED');
  const needs: VersionNeed[] = [];
  for (const [at, { vn_file, vn_aux }] of entries.chain(Elf64_Verneed, 0, ({ vn_next }) => vn_next)) {
    const library = names.at(vn_file);
    const versions: NeededVersion[] = [];
    for (const [, aux] of entries.chain(Elf64_Vernaux, at + vn_aux, ({ vna_next }) => vna_next)) {
      versions.push({ name: names.at(aux.vna_name), flags: aux.vna_flags, index: aux.vna_other });
    }
    needs.push({ library, versions });
  }
  return needs;
}

/** Contents of an SHT_GNU_verneed section; `nameOffset` gives the place of a name in DT_STRTAB. */
export function encodeVersionNeeds(
  needs: readonly VersionNeed[],
  nameOffset: (name: string) => number,
): Uint8Array {
  const { size: needSize } = Elf64_Verneed;
  const { size: versionSize } = Elf64_Vernaux;
  const sizes = needs.map(({ versions }) => needSize + versions.length * versionSize);
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = viewOf(bytes);
  let at = 0;
  for (const [i, { library, versions }] of needs.entries()) {
    const size = sizes[i] ?? 0;
    const need = {
      vn_version: 1,
      vn_cnt: versions.length,
      vn_file: nameOffset(library),
      vn_aux: needSize,
      vn_next: i + 1 < needs.length ? size : 0,
    };
    Elf64_Verneed.write(view, at, need, LE);
    for (const [j, { name, flags, index }] of versions.entries()) {
      const version = {
        vna_hash: elfHash(name),
        vna_flags: flags,
        vna_other: index,
        vna_name: nameOffset(name),
        vna_next: j + 1 < versions.length ? versionSize : 0,
      };
      Elf64_Vernaux.write(view, at + needSize + j * versionSize, version, LE);
    }
    at += size;
  }
  return bytes;
}

/** Follows structs that say how far it is to the next one. Each step leads on, and their number is bounded. */
class ChainReader {
  readonly #table: ByteSource;
  readonly #what: string;
  /** An index has 15 bits, so there cannot be more versions than that. */
  #left = HIDDEN;

  constructor(table: ByteSource, what: string) {
    this.#table = table;
    this.#what = what;
  }

  read<F>(of: Struct<F>, at: number): FieldValues<F> {
    return of.read(viewOf(bytesOf(this.#table, this.#what, at, of.size)), 0, LE);
  }

  *chain<F>(
    of: Struct<F>,
    first: number,
    next: (entry: FieldValues<F>) => number,
  ): Generator<[number, FieldValues<F>]> {
    for (let at = first; ; ) {
      if (this.#left-- === 0) {
        throw badDynamic(`${this.#what} has more than ${HIDDEN} entries, expected fewer`);
      }
      const entry = this.read(of, at);
      yield [at, entry];
      if (next(entry) === 0) return;
      at += next(entry);
    }
  }
}
