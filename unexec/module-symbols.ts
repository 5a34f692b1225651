/**
 * Symbols of the modules of a process, at their addresses in it. The file is trusted only when its
 * build-id is that of the mapped module.
 *
 * @module
 */
import {
  type ElfFile,
  type ElfSymbol,
  FormatError,
  readBuildId,
  readDynamicSymbols,
  readElf,
  readSymbols,
  SHN,
  SHT,
  STT,
} from '../formats/elf/index.ts';
import { FileSource } from './file-source.ts';
import type { Module } from './image.ts';

export interface ModuleSymbol extends ElfSymbol {
  /** Address in the process. */
  readonly address: bigint;
}

export type SymbolTables = 'dynamic' | 'all';

/**
 * Defined functions and objects of a module: of its dynamic symbol table, or of its full one where it
 * has one and `tables` is `all`. Empty where the file is gone, is another one, or cannot be read.
 */
export function moduleSymbols(module: Module, tables: SymbolTables): ModuleSymbol[] {
  let source: FileSource;
  try {
    source = new FileSource(module.path);
  } catch {
    return []; // deleted or replaced meanwhile, or not a path ([vdso])
  }
  try {
    const file = readElf(source);
    if (module.buildId !== '' && readBuildId(file) !== module.buildId) return [];
    return symbolsOf(file, tables)
      .filter(isDefined)
      .map(symbol => ({ ...symbol, address: symbol.value + module.bias }));
  } catch (error) {
    if (error instanceof FormatError) return [];
    throw error;
  } finally {
    source.close();
  }
}

function symbolsOf(file: ElfFile, tables: SymbolTables): ElfSymbol[] {
  const full = tables === 'all' ? file.sections.find(({ type }) => type === SHT.SHT_SYMTAB) : undefined;
  if (full !== undefined) return readSymbols(file, full);
  const dynamic = file.sections.find(({ type }) => type === SHT.SHT_DYNSYM);
  return dynamic === undefined ? readDynamicSymbols(file) : readSymbols(file, dynamic);
}

const KEPT_TYPES: ReadonlySet<number> = new Set([
  STT.STT_NOTYPE,
  STT.STT_OBJECT,
  STT.STT_FUNC,
  STT.STT_GNU_IFUNC,
]);

const isDefined = (symbol: ElfSymbol): boolean =>
  symbol.sectionIndex !== SHN.SHN_UNDEF &&
  (symbol.extended || symbol.sectionIndex < SHN.SHN_LORESERVE) &&
  KEPT_TYPES.has(symbol.type) &&
  symbol.name !== '';

/** The address of a symbol in the first module that defines it. */
export function findSymbol(modules: readonly Module[], name: string): ModuleSymbol | undefined {
  for (const module of modules) {
    const symbol = moduleSymbols(module, 'all').find(candidate => candidate.name === name);
    if (symbol !== undefined) return symbol;
  }
  return undefined;
}
