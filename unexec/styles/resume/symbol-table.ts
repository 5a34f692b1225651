/**
 * The symbol table of an image: the tables of its modules joined, at the addresses of the process.
 * Tables are copied as bytes and patched in place: node has 250,000 symbols with 25 MB of names, which
 * as objects would take more memory than all else that unexec does.
 * Facts: gABI 4.1 (Symbol Table).
 *
 * @module
 */
import { Elf64_Sym, SHN, STB } from '../../../formats/elf/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import type { Module } from '../../image.ts';
import { isKeptSymbol, type RawSymbols, rawSymbols } from '../../module-symbols.ts';

const { st_name, st_info, st_shndx, st_value } = Elf64_Sym.offsets;
const SIZE = Elf64_Sym.size;

export interface SymbolTable {
  /** Contents of the SHT_SYMTAB section. */
  readonly symtab: Uint8Array;
  readonly strtab: Uint8Array;
  /** sh_info: index of the first symbol that is not local. */
  readonly firstGlobal: number;
  /** Contents of the SHT_SYMTAB_SHNDX section, where an index does not fit into st_shndx. */
  readonly shndx: Uint8Array | undefined;
}

/**
 * Joins the symbols of modules, the program first. Those of libraries become local, as several may have
 * one name; the program's stay what they are.
 *
 * `sectionAt` gives the index of the section that holds an address.
 */
export function joinSymbols(
  modules: readonly Module[],
  sectionAt: (address: bigint) => number | undefined,
): SymbolTable {
  const tables = modules.flatMap((module, i) => {
    const raw = rawSymbols(module, i === 0 ? 'all' : 'dynamic');
    return raw === undefined ? [] : [{ raw, bias: module.bias, isProgram: i === 0 }];
  });
  const total = tables.reduce((sum, { raw }) => sum + Math.floor(raw.symtab.length / SIZE), 1);
  const writer = new SymbolWriter(total, sectionAt);

  const strings: Uint8Array[] = [new Uint8Array(1)];
  let nameBase = 1;
  const globals: { raw: RawSymbols; bias: bigint; nameBase: number }[] = [];
  for (const { raw, bias, isProgram } of tables) {
    writer.add(raw, bias, nameBase, isProgram ? 'locals' : 'as-locals');
    if (isProgram) globals.push({ raw, bias, nameBase });
    strings.push(raw.strtab);
    nameBase += raw.strtab.length;
  }
  const firstGlobal = writer.count;
  for (const { raw, bias, nameBase: base } of globals) writer.add(raw, bias, base, 'globals');
  return { ...writer.finish(), strtab: concatenate(strings, nameBase), firstGlobal };
}

type Selection = 'locals' | 'globals' | 'as-locals';

class SymbolWriter {
  readonly #symtab: Uint8Array;
  readonly #view: DataView;
  readonly #sectionAt: (address: bigint) => number | undefined;
  readonly #extended = new Map<number, number>();
  /** Symbols so far, the null symbol included. */
  count = 1;

  constructor(total: number, sectionAt: (address: bigint) => number | undefined) {
    this.#symtab = new Uint8Array(total * SIZE);
    this.#view = viewOf(this.#symtab);
    this.#sectionAt = sectionAt;
  }

  add({ symtab }: RawSymbols, bias: bigint, nameBase: number, selection: Selection): void {
    const source = viewOf(symtab);
    for (let at = 0; at + SIZE <= symtab.length; at += SIZE) {
      if (!isKeptSymbol(source, at)) continue;
      const info = source.getUint8(at + st_info);
      const isLocal = info >> 4 === STB.STB_LOCAL;
      if (selection !== 'as-locals' && isLocal !== (selection === 'locals')) continue;
      const to = this.count * SIZE;
      this.#symtab.set(symtab.subarray(at, at + SIZE), to);
      const address = source.getBigUint64(at + st_value, true) + bias;
      this.#view.setUint32(to + st_name, source.getUint32(at + st_name, true) + nameBase, true);
      this.#view.setBigUint64(to + st_value, address, true);
      if (selection === 'as-locals') this.#view.setUint8(to + st_info, (STB.STB_LOCAL << 4) | (info & 0xf));
      this.#setSection(to, this.#sectionAt(address));
      this.count++;
    }
  }

  #setSection(at: number, index: number | undefined): void {
    const large = index !== undefined && index >= SHN.SHN_LORESERVE;
    if (large) this.#extended.set(this.count, index);
    this.#view.setUint16(at + st_shndx, large ? SHN.SHN_XINDEX : (index ?? SHN.SHN_ABS), true);
  }

  finish(): { symtab: Uint8Array; shndx: Uint8Array | undefined } {
    const symtab = this.#symtab.subarray(0, this.count * SIZE);
    if (this.#extended.size === 0) return { symtab, shndx: undefined };
    const shndx = new Uint8Array(this.count * 4);
    const view = viewOf(shndx);
    for (const [symbol, section] of this.#extended) view.setUint32(symbol * 4, section, true);
    return { symtab, shndx };
  }
}

function concatenate(parts: readonly Uint8Array[], length: number): Uint8Array {
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
