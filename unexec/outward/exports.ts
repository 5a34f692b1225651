/**
 * What a mapped module offers to others by name, at the addresses of the process: its dynamic symbols with
 * their versions, and the words that the loader has bound for it. The file is trusted only when its build-id
 * is that of the mapped module.
 *
 * @module
 */
import { basename } from 'node:path';
import {
  DT,
  dynamicStrings,
  dynamicTypes,
  type ElfFile,
  type ElfSymbol,
  FormatError,
  readBuildId,
  readDynamicRelocations,
  readDynamicSymbols,
  readElf,
  readSymbolVersions,
  relocationsOf,
  SHN,
  STB,
  STT,
  type SymbolVersion,
} from '../../formats/elf/index.ts';
import { FileSource } from '../file-source.ts';
import type { Module } from '../image.ts';

export interface ExportedSymbol {
  readonly name: string;
  /** As DT_VERNEED names it; undefined: without a version. */
  readonly version: string | undefined;
  /** Of data that the program has copied (R_*_COPY): the library that has the version. */
  readonly copiedFrom: string | undefined;
  /** A link takes this version; others exist for programs that were linked long ago. */
  readonly isDefault: boolean;
  /** STT_*. */
  readonly type: number;
  /** Address in the process. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
}

/** A word that the loader fills with the address of a symbol. */
export interface BoundWord {
  /** Address of the word. */
  readonly address: bigint;
  readonly symbol: string;
  readonly version: string | undefined;
  readonly addend: bigint;
}

export interface ModuleExports {
  readonly module: Module;
  /** DT_SONAME, or the file's name: what others call it in DT_NEEDED and DT_VERNEED. */
  readonly library: string;
  readonly needed: readonly string[];
  /** Functions and data, by address. Thread-local ones and constants have none. */
  readonly symbols: readonly ExportedSymbol[];
  readonly bound: readonly BoundWord[];
  /** Why nothing is known of it, which is then all that is. */
  readonly unreadable: string | undefined;
}

export function exportsOf(module: Module): ModuleExports {
  const nothing: ModuleExports = {
    module,
    library: basename(module.path),
    needed: [],
    symbols: [],
    bound: [],
    unreadable: undefined,
  };
  let source: FileSource;
  try {
    source = new FileSource(module.path);
  } catch {
    return { ...nothing, unreadable: 'its file is gone' };
  }
  try {
    const file = readElf(source);
    if (module.buildId !== '' && readBuildId(file) !== module.buildId) {
      return { ...nothing, unreadable: 'its file is another one now (the build-id differs)' };
    }
    return { ...nothing, ...contentsOf(file, module) };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { ...nothing, unreadable: error.message };
  } finally {
    source.close();
  }
}

function contentsOf(file: ElfFile, { bias }: Module) {
  const symbols = readDynamicSymbols(file);
  const versions = readSymbolVersions(file, symbols.length);
  const [soname] = dynamicStrings(file, DT.DT_SONAME);
  return {
    ...(soname === undefined ? {} : { library: soname }),
    needed: dynamicStrings(file, DT.DT_NEEDED),
    symbols: symbols
      .flatMap((symbol, i) => (isExported(symbol) ? [exported(symbol, versions[i], bias)] : []))
      .sort((a, b) => a.start - b.start),
    bound: boundWords(file, symbols, versions, bias),
  };
}

const ADDRESSED: ReadonlySet<number> = new Set([
  STT.STT_NOTYPE,
  STT.STT_OBJECT,
  STT.STT_FUNC,
  STT.STT_GNU_IFUNC,
]);

const isExported = ({ name, sectionIndex, bind, type }: ElfSymbol): boolean =>
  name !== '' &&
  sectionIndex !== SHN.SHN_UNDEF &&
  sectionIndex !== SHN.SHN_ABS &&
  bind !== STB.STB_LOCAL &&
  ADDRESSED.has(type);

const exported = (symbol: ElfSymbol, version: SymbolVersion | undefined, bias: bigint): ExportedSymbol => ({
  name: symbol.name,
  version: version?.name,
  copiedFrom: version?.library,
  isDefault: version === undefined || version.isDefault,
  type: symbol.type,
  start: Number(symbol.value + bias),
  size: symbol.size,
});

function boundWords(
  file: ElfFile,
  symbols: readonly ElfSymbol[],
  versions: readonly (SymbolVersion | undefined)[],
  bias: bigint,
): BoundWord[] {
  const types = dynamicTypes(file.header.machine);
  const { rela, jmprel } = readDynamicRelocations(file);
  const bound: BoundWord[] = [];
  for (const table of [rela, jmprel]) {
    for (const { offset, type, symbol, addend } of relocationsOf(table)) {
      const named = symbols[symbol];
      const isPointer = type === types.absolute || type === types.globDat || type === types.jumpSlot;
      if (!isPointer || named === undefined || symbol === 0) continue;
      bound.push({
        address: offset + bias,
        symbol: named.name,
        version: versions[symbol]?.name,
        addend: type === types.absolute ? addend : 0n,
      });
    }
  }
  return bound;
}
