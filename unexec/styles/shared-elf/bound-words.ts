/**
 * Which words of a library its loader has bound to which symbols: the values that imports have in a run, and which
 * of the words that the library may write still hold what the loader put there.
 *
 * @module
 */
import { type ElfRelocation, relocationsOf, SHN, STB } from '../../../formats/elf/index.ts';
import { OutwardSymbols } from '../../outward-symbols.ts';
import type { LibraryRun } from '../../sources/load-library.ts';
import { type LibraryFile, writableAt } from './library-file.ts';
import type { RunMemory } from './run-memory.ts';

/** One run, with what is known of its modules. */
export interface ReadRun {
  readonly run: LibraryRun;
  readonly memory: RunMemory;
  /** Value of an import in this run → its index among the library's dynamic symbols. */
  readonly importOf: ReadonlyMap<bigint, number>;
  /** The other way round. */
  readonly imported: ReadonlyMap<number, bigint>;
  /** What is exported where. */
  readonly symbols: OutwardSymbols;
}

/** Reads the values that the loader gave to the imports of the library. */
export function readRun(library: LibraryFile, run: LibraryRun, memory: RunMemory): ReadRun {
  const importOf = new Map<bigint, number>();
  const imported = new Map<number, bigint>();
  const { globDat, jumpSlot } = library.types;
  for (const { offset, type, symbol } of symbolicRelocations(library)) {
    if (type !== globDat && type !== jumpSlot) continue;
    if (writableAt(library, offset)?.isLoaders !== true) continue;
    const value = memory.word(run.library.bias + offset);
    if (value === 0n) continue;
    imported.set(symbol, value);
    const known = importOf.get(value);
    if (known === undefined || isDefined(library, known)) importOf.set(value, symbol);
  }
  const symbols = new OutwardSymbols(run.view.modules, memory);
  return { run, memory, importOf, imported, symbols };
}

const isDefined = ({ symbols }: LibraryFile, symbol: number): boolean =>
  symbols[symbol]?.sectionIndex !== SHN.SHN_UNDEF;

/** All relocations of the library that name a symbol, or could. */
export function* symbolicRelocations({ rela, jmprel, types }: LibraryFile): Generator<ElfRelocation, void> {
  for (const table of [rela, jmprel]) {
    for (const relocation of relocationsOf(table)) {
      if (relocation.type !== types.relative && relocation.type !== 0) yield relocation;
    }
  }
}

/** Whether a word holds what the loader would put there, in this run. */
export function isStillBound(
  library: LibraryFile,
  { run, memory, imported, symbols }: ReadRun,
  { offset, symbol, addend }: ElfRelocation,
): boolean {
  const wanted = library.symbols[symbol];
  if (wanted === undefined) return false;
  const value = memory.word(run.library.bias + offset) - addend;
  const known = imported.get(symbol);
  if (known !== undefined) return value === known;
  if (value === 0n) return wanted.bind === STB.STB_WEAK;
  if (wanted.sectionIndex !== SHN.SHN_UNDEF && value === run.library.bias + wanted.value) return true;
  const found = value < 0n || value >= ADDRESS_END ? undefined : symbols.resolve(Number(value));
  return found?.kind === 'symbol' && found.symbol === wanted.name && found.addend === 0;
}

const ADDRESS_END = 2n ** 48n;
