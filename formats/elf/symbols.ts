/**
 * Symbol tables, read and written whole. A large program has 300,000 symbols, so the loops go through a
 * DataView by hand, three times as fast as the struct table would. gABI 4.1, "Symbol Table".
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { SHN, SHT, STB } from './constants.ts';
import { sectionContents } from './find.ts';
import { type ElfFile, type ElfSection, hasFileBytes } from './model.ts';
import { StringTable, StringTableBuilder } from './strings.ts';
import { Elf64_Sym, LE } from './structs.ts';

export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  /** Bytes. */
  readonly size: number;
  /** STT_*. */
  readonly type: number;
  /** STB_*. */
  readonly bind: number;
  /** STV_*. */
  readonly visibility: number;
  /** The bits of st_other beside the visibility (STO_AARCH64_VARIANT_PCS). */
  readonly other: number;
  /** Index of a section, or a special one (SHN_UNDEF, SHN_ABS, …). */
  readonly sectionIndex: number;
  /** `sectionIndex` is beyond what st_shndx holds: 0xfff1 is a section here, not SHN_ABS. */
  readonly extended: boolean;
}

/** A symbol with the name and value given; the others are 0, and `bind` is STB_GLOBAL. */
export const newSymbol = (fields: Pick<ElfSymbol, 'name' | 'value'> & Partial<ElfSymbol>): ElfSymbol => ({
  size: 0,
  type: 0,
  bind: STB.STB_GLOBAL,
  visibility: 0,
  other: 0,
  sectionIndex: SHN.SHN_UNDEF,
  extended: false,
  ...fields,
});

/**
 * All symbols of an SHT_SYMTAB or SHT_DYNSYM section, in order: what a relocation calls symbol 5 is at 5,
 * and the null symbol at 0. None in a separate debug file, whose .dynsym is SHT_NOBITS.
 *
 * @throws FormatError `ELF_BAD_SYMBOLS`, `ELF_BAD_STRING`
 */
export function readSymbols(file: ElfFile, section: ElfSection): ElfSymbol[] {
  if (!hasFileBytes(section)) return [];
  const strings = file.sections[section.link];
  if (strings?.type !== SHT.SHT_STRTAB) {
    throw new FormatError(
      'ELF_BAD_SYMBOLS',
      `ELF: sh_link of ${JSON.stringify(section.name)} is ${section.link}, expected an SHT_STRTAB section`,
      { value: section.link },
    );
  }
  const index = file.sections.indexOf(section);
  const extension = file.sections.find(({ type, link }) => type === SHT.SHT_SYMTAB_SHNDX && link === index);
  return decodeSymbols(
    sectionContents(section),
    new StringTable(sectionContents(strings)),
    extension && sectionContents(extension),
  );
}

/**
 * The same from the bytes of a table and its names; `shndx` is an SHT_SYMTAB_SHNDX table. Bytes after
 * the last whole symbol are ignored.
 */
export function decodeSymbols(symtab: Uint8Array, names: StringTable, shndx?: Uint8Array): ElfSymbol[] {
  const count = Math.floor(symtab.length / Elf64_Sym.size);
  const view = viewOf(symtab);
  const symbols = new Array<ElfSymbol>(count);
  for (let i = 0; i < count; i++) {
    const at = i * Elf64_Sym.size;
    const info = view.getUint8(at + 4);
    const other = view.getUint8(at + 5);
    const shndxField = view.getUint16(at + 6, LE);
    const sizeHigh = view.getUint32(at + 20, LE);
    if (sizeHigh >= 0x20_0000) throw tooLarge(i, view.getBigUint64(at + 16, LE));
    const isExtended = shndxField === SHN.SHN_XINDEX;
    symbols[i] = {
      name: names.at(view.getUint32(at, LE)),
      value: view.getBigUint64(at + 8, LE),
      size: sizeHigh * 0x1_0000_0000 + view.getUint32(at + 16, LE),
      type: info & 0xf,
      bind: info >> 4,
      visibility: other & 3,
      other: other & ~3,
      sectionIndex: isExtended ? extendedIndex(shndx, i) : shndxField,
      extended: isExtended,
    };
  }
  return symbols;
}

export interface EncodedSymbols {
  /** Contents of the SHT_SYMTAB section, the null symbol first. */
  readonly symtab: Uint8Array;
  /** Contents of the SHT_STRTAB section that it links to. */
  readonly strtab: Uint8Array;
  /** Index of the first symbol that is not local: sh_info of the SHT_SYMTAB section. */
  readonly firstGlobal: number;
  /** Contents of the SHT_SYMTAB_SHNDX section that is needed, if one is. */
  readonly shndx: Uint8Array | undefined;
  /** Where each of the given symbols went: its index in the table. */
  readonly indices: Uint32Array;
}

/**
 * A symbol table of these symbols (without the null symbol, which is added): local ones first, as the
 * gABI demands, otherwise in the order given.
 *
 * @throws FormatError `ELF_BAD_SYMBOLS`, `ELF_BAD_STRING` for what a table cannot hold
 */
export function encodeSymbols(symbols: readonly ElfSymbol[]): EncodedSymbols {
  const symtab = new Uint8Array((symbols.length + 1) * Elf64_Sym.size);
  const view = viewOf(symtab);
  const names = new StringTableBuilder();
  const indices = new Uint32Array(symbols.length);
  let shndx: DataView | undefined;
  let next = 1;
  let firstGlobal = 1;
  for (const locals of [true, false]) {
    for (const [i, symbol] of symbols.entries()) {
      if ((symbol.bind === STB.STB_LOCAL) !== locals) continue;
      if (symbol.sectionIndex > 0xffff && !symbol.extended) throw notExtended(symbol);
      const at = next * Elf64_Sym.size;
      view.setUint32(at, names.add(symbol.name), LE);
      view.setUint8(at + 4, (symbol.bind << 4) | symbol.type);
      view.setUint8(at + 5, symbol.other | symbol.visibility);
      view.setUint16(at + 6, symbol.extended ? SHN.SHN_XINDEX : symbol.sectionIndex, LE);
      view.setBigUint64(at + 8, symbol.value, LE);
      view.setBigUint64(at + 16, BigInt(symbol.size), LE);
      if (symbol.extended) {
        shndx ??= viewOf(new Uint8Array(4 * (symbols.length + 1)));
        shndx.setUint32(4 * next, symbol.sectionIndex, LE);
      }
      indices[i] = next++;
    }
    if (locals) firstGlobal = next;
  }
  return {
    symtab,
    strtab: names.bytes(),
    firstGlobal,
    shndx: shndx && new Uint8Array(shndx.buffer),
    indices,
  };
}

function extendedIndex(shndx: Uint8Array | undefined, symbol: number): number {
  if (shndx && 4 * symbol + 4 <= shndx.length) return viewOf(shndx).getUint32(4 * symbol, LE);
  throw new FormatError(
    'ELF_BAD_SYMBOLS',
    `ELF: st_shndx of symbol ${symbol} is SHN_XINDEX, expected its index in an SHT_SYMTAB_SHNDX section`,
    { value: symbol },
  );
}

const tooLarge = (symbol: number, value: bigint): FormatError =>
  new FormatError(
    'ELF_BAD_SYMBOLS',
    `ELF: st_size of symbol ${symbol} is ${hex(value)}, expected at most 2^53 - 1`,
    { value },
  );

const notExtended = ({ name, sectionIndex }: ElfSymbol): FormatError =>
  new FormatError(
    'ELF_BAD_SYMBOLS',
    `ELF: sectionIndex of symbol ${JSON.stringify(name)} is ${sectionIndex}, expected at most 0xffff unless it is extended`,
    { value: sectionIndex },
  );
