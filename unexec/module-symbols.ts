/**
 * Symbols of the modules of a process, at their addresses in it. The file is trusted only when its
 * build-id is that of the mapped module.
 *
 * @module
 */
import {
  Elf64_Sym,
  type ElfFile,
  encodeSymbols,
  FormatError,
  readBuildId,
  readDynamicSymbols,
  readElf,
  SHN,
  SHT,
  STT,
  sectionContents,
} from '../formats/elf/index.ts';
import { viewOf } from '../formats/struct.ts';
import { FileSource } from './file-source.ts';
import type { Module } from './image.ts';

export interface ModuleSymbol {
  readonly name: string;
  /** Address in the process. */
  readonly address: bigint;
  /** STT_*. */
  readonly type: number;
}

/** `all`: the full table, or the dynamic one of a stripped file. `dynamic`: the other way round. */
export type SymbolTables = 'dynamic' | 'all';

/** A symbol table and its names, as they are in the file. */
export interface RawSymbols {
  readonly symtab: Uint8Array;
  readonly strtab: Uint8Array;
}

/**
 * The symbol table of a module; undefined where the file is gone, is another one, cannot be read, or
 * has none.
 */
export function rawSymbols(module: Module, tables: SymbolTables): RawSymbols | undefined {
  let source: FileSource;
  try {
    source = new FileSource(module.path);
  } catch {
    return undefined; // deleted or replaced meanwhile
  }
  try {
    const file = readElf(source);
    if (module.buildId !== '' && readBuildId(file) !== module.buildId) return undefined;
    return rawTable(file, tables);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  } finally {
    source.close();
  }
}

function rawTable(file: ElfFile, tables: SymbolTables): RawSymbols {
  const full = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const dynamic = file.sections.find(({ type }) => type === SHT.SHT_DYNSYM);
  const table = tables === 'all' ? (full ?? dynamic) : (dynamic ?? full);
  const strings = table && file.sections[table.link];
  // No section headers: the loader's own way to find the dynamic symbols.
  if (table === undefined || strings === undefined) return encodeSymbols(readDynamicSymbols(file));
  return { symtab: sectionContents(table), strtab: sectionContents(strings) };
}

/**
 * The defined functions and objects of a module that have one of these names. Only those are decoded:
 * the names are looked up in the string table, and the raw table is then searched for their offsets.
 */
export function symbolsNamed(module: Module, names: Iterable<string>, tables: SymbolTables): ModuleSymbol[] {
  const found: ModuleSymbol[] = [];
  for (const { name, view, at } of entriesNamed(module, names, tables)) {
    if (!isKeptSymbol(view, at)) continue;
    const symbol = Elf64_Sym.read(view, at, true);
    found.push({ name, address: symbol.st_value + module.bias, type: symbol.st_info & 0xf });
  }
  return found;
}

/** Sections (`st_shndx`) of all symbols that have one of these names: SHN_UNDEF where it is imported. */
export function sectionsOfSymbols(module: Module, names: Iterable<string>, tables: SymbolTables): number[] {
  return [...entriesNamed(module, names, tables)].map(({ view, at }) =>
    view.getUint16(at + Elf64_Sym.offsets.st_shndx, true),
  );
}

/** The symbols of these names, defined or not: where each is in the table. */
function* entriesNamed(
  module: Module,
  names: Iterable<string>,
  tables: SymbolTables,
): Generator<{ readonly name: string; readonly view: DataView; readonly at: number }> {
  const raw = rawSymbols(module, tables);
  if (raw === undefined) return;
  const nameAt = new Map([...names].flatMap(name => offsetsOf(raw.strtab, name).map(at => [at, name])));
  if (nameAt.size === 0) return;
  const view = viewOf(raw.symtab);
  for (let at = 0; at + Elf64_Sym.size <= raw.symtab.length; at += Elf64_Sym.size) {
    const name = nameAt.get(view.getUint32(at + Elf64_Sym.offsets.st_name, true));
    if (name !== undefined) yield { name, view, at };
  }
}

/** Offsets at which this name stands in a string table; the tail of a longer name counts. */
function offsetsOf(strtab: Uint8Array, name: string): number[] {
  const bytes = Buffer.from(strtab.buffer, strtab.byteOffset, strtab.byteLength);
  const wanted = Buffer.from(`${name}\0`);
  const offsets: number[] = [];
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) offsets.push(at);
  return offsets;
}

const KEPT_TYPES: ReadonlySet<number> = new Set([
  STT.STT_NOTYPE,
  STT.STT_OBJECT,
  STT.STT_FUNC,
  STT.STT_GNU_IFUNC,
]);

/** Whether the symbol at byte `at` of a table names a function or object that its file defines. */
export function isKeptSymbol(view: DataView, at: number): boolean {
  const section = view.getUint16(at + Elf64_Sym.offsets.st_shndx, true);
  return (
    section !== SHN.SHN_UNDEF &&
    (section < SHN.SHN_LORESERVE || section === SHN.SHN_XINDEX) &&
    view.getUint32(at + Elf64_Sym.offsets.st_name, true) !== 0 &&
    KEPT_TYPES.has(view.getUint8(at + Elf64_Sym.offsets.st_info) & 0xf)
  );
}

/** A symbol in the first module that defines it. */
export function findSymbol(modules: readonly Module[], name: string): ModuleSymbol | undefined {
  for (const module of modules) {
    const [symbol] = symbolsNamed(module, [name], 'all');
    if (symbol !== undefined) return symbol;
  }
  return undefined;
}
