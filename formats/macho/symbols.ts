/**
 * The symbol table (LC_SYMTAB) and the indirect symbol table (LC_DYSYMTAB), read and written whole. A large
 * program has 300,000 symbols, so the loops go through a DataView by hand. `mach-o/nlist.h` and
 * `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import { wholeContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { MACHO } from '../parts.ts';
import { StringTable, StringTableBuilder } from '../strings.ts';
import { viewOf } from '../struct.ts';
import { N, N_MASK, NO_SECT, S } from './constants.ts';
import { sectionType } from './find.ts';
import { findBlob } from './linkedit.ts';
import type { MachOFile, MachOSection } from './model.ts';
import { LE, nlist_64 } from './structs.ts';

export interface MachOSymbol {
  /** With its underscore: `_main`. */
  readonly name: string;
  /** n_type: N_TYPE, N_EXT and N_PEXT, or with any bit of N_STAB one of STAB. */
  readonly type: number;
  /** n_sect: counts from 1 across the sections of all segments; NO_SECT. */
  readonly section: number;
  /** n_desc: N_DESC, and in its high byte the library ordinal of an undefined symbol. */
  readonly desc: number;
  /** n_value: mostly an address. */
  readonly value: bigint;
}

/** A symbol with the name and value given; external and absolute unless said otherwise. */
export const newSymbol = (
  fields: Pick<MachOSymbol, 'name' | 'value'> & Partial<MachOSymbol>,
): MachOSymbol => ({
  type: N.N_ABS | N_MASK.N_EXT,
  section: NO_SECT,
  desc: 0,
  ...fields,
});

/** Whether a symbol is one for debuggers only. */
export const isStab = ({ type }: MachOSymbol): boolean => (type & N_MASK.N_STAB) !== 0;

/** Whether a symbol is defined elsewhere (or common, in objects: then its value is its size). */
export const isUndefined = (symbol: MachOSymbol): boolean =>
  !isStab(symbol) && (symbol.type & N_MASK.N_TYPE) === N.N_UNDF;

/** Whether a symbol is defined in a section. */
export const isInSection = (symbol: MachOSymbol): boolean =>
  !isStab(symbol) && (symbol.type & N_MASK.N_TYPE) === N.N_SECT;

/** The library that an undefined symbol comes from: an index of `readDylibs`, from 1, or LIBRARY_ORDINAL. */
export const libraryOrdinal = ({ desc }: MachOSymbol): number => desc >> 8;

/**
 * All symbols, in order: what an indirect symbol calls 5 is at 5. None where the file has no table.
 *
 * @throws FormatError `MACHO_BAD_STRING`
 */
export function readSymbols(file: MachOFile): MachOSymbol[] {
  const symbols = findBlob(file, 'symbols');
  const strings = findBlob(file, 'strings');
  if (!symbols) return [];
  const names = strings ? wholeContents(strings.contents) : new Uint8Array(0);
  return decodeSymbols(wholeContents(symbols.contents), names);
}

/** The same from the bytes of the table and of its names. Bytes after the last whole symbol are ignored. */
export function decodeSymbols(symbols: Uint8Array, strings: Uint8Array): MachOSymbol[] {
  const names = new StringTable(strings, MACHO);
  const view = viewOf(symbols);
  return Array.from({ length: Math.floor(symbols.length / nlist_64.size) }, (_, i) => {
    const at = i * nlist_64.size;
    const n_strx = view.getUint32(at, LE);
    return {
      // Whatever is at the table's beginning (ld writes a space), 0 says that there is no name.
      name: n_strx === 0 ? '' : names.at(n_strx),
      type: view.getUint8(at + 4),
      section: view.getUint8(at + 5),
      desc: view.getUint16(at + 6, LE),
      value: view.getBigUint64(at + 8, LE),
    };
  });
}

export interface EncodedSymbols {
  /** The part `symbols` of __LINKEDIT. */
  readonly symbols: Uint8Array;
  /** The part `strings` of __LINKEDIT. */
  readonly strings: Uint8Array;
}

/**
 * A symbol table of these symbols, in the order given.
 *
 * @throws FormatError `MACHO_BAD_STRING` for a name with a NUL in it
 */
export function encodeSymbols(symbols: readonly MachOSymbol[]): EncodedSymbols {
  const bytes = new Uint8Array(symbols.length * nlist_64.size);
  const view = viewOf(bytes);
  // As ld(1) and lld begin it: offset 0 is no name, 1 the empty one.
  const names = new StringTableBuilder(Uint8Array.of(0x20, 0), MACHO);
  for (const [i, { name, type, section, desc, value }] of symbols.entries()) {
    const at = i * nlist_64.size;
    view.setUint32(at, name === '' ? 0 : names.add(name), LE);
    view.setUint8(at + 4, type);
    view.setUint8(at + 5, section);
    view.setUint16(at + 6, desc, LE);
    view.setBigUint64(at + 8, value, LE);
  }
  return { symbols: bytes, strings: names.bytes() };
}

/**
 * The indirect symbol table: indices of symbols, or INDIRECT_SYMBOL. Sections of pointers and stubs have
 * their stretches of it, which `indirectSymbolsOf` gives.
 */
export function readIndirectSymbols(file: MachOFile): Uint32Array {
  const blob = findBlob(file, 'indirect-symbols');
  if (!blob) return new Uint32Array(0);
  const view = viewOf(wholeContents(blob.contents));
  return Uint32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, LE));
}

/** Bytes that an entry of a section has in the indirect symbol table; 0 for sections that have none. */
export function indirectEntrySize(section: MachOSection): number {
  switch (sectionType(section)) {
    case S.S_NON_LAZY_SYMBOL_POINTERS:
    case S.S_LAZY_SYMBOL_POINTERS:
    case S.S_LAZY_DYLIB_SYMBOL_POINTERS:
    case S.S_THREAD_LOCAL_VARIABLE_POINTERS:
      return 8;
    case S.S_SYMBOL_STUBS:
      return section.reserved2;
    default:
      return 0;
  }
}

/**
 * The indirect symbols of one section, one for each of its pointers or stubs: a stretch of what
 * `readIndirectSymbols` gave.
 *
 * @throws FormatError `MACHO_BAD_SECTION` where the section claims more than there are
 */
export function indirectSymbolsOf(section: MachOSection, indirect: Uint32Array): Uint32Array {
  const unit = indirectEntrySize(section);
  if (unit === 0) return new Uint32Array(0);
  const { reserved1: first, size } = section;
  const count = size / BigInt(unit);
  if (count <= BigInt(Math.max(0, indirect.length - first))) {
    return indirect.subarray(first, first + Number(count));
  }
  throw new FormatError(
    'MACHO_BAD_SECTION',
    `Mach-O: section ${section.segname},${section.sectname} has ${hex(count)} indirect symbols from ${first} on, expected at most ${indirect.length} in all`,
    { value: count },
  );
}
