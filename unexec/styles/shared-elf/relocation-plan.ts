/**
 * The relocations of a frozen library: those that its loader's words had, those of the words that were dumped,
 * and the rerouted imports of functions that take a block.
 *
 * @module
 */
import { type ElfRelocation, relocationAt, SHN } from '../../../formats/elf/index.ts';
import { UnexecError } from '../../errors.ts';
import {
  ALLOCATION_FUNCTIONS,
  resolverOffset,
  stubOffset,
  TABLE,
} from '../../frozen-allocations/functions.ts';
import type { ComparedRuns } from './compare-runs.ts';
import type { Imports } from './imports.ts';
import { type LibraryFile, writableAt } from './library-file.ts';

/** Where things are in the new file: its addresses. */
export interface Places {
  /** The code of the stubs. */
  readonly code: bigint;
  /** Their table, and the blocks behind it. */
  readonly heap: bigint;
  /** Where the word, variable or block byte that was at an address of the first run is now. */
  readonly placeOf: (address: number) => bigint;
}

export interface RelativeWord {
  readonly place: bigint;
  /** With whatever tag the pointer has in its upper bits. */
  readonly target: bigint;
}

export interface RelocationPlan {
  /** By place, each once. */
  readonly relative: readonly RelativeWord[];
  readonly symbolic: readonly ElfRelocation[];
  /** DT_JMPREL, entry by entry as it was. */
  readonly jmprel: readonly ElfRelocation[];
  /** Imports that go through a stub now, by their names. */
  readonly rerouted: readonly string[];
}

const ADDRESS_MASK = 0xffff_ffff_ffffn;

/** All relocations, with the symbol indices of the new file. */
export function planRelocations(
  library: LibraryFile,
  compared: ComparedRuns,
  places: Places,
  { imported, targets }: Imports,
): RelocationPlan {
  const { types } = library;
  const relative: RelativeWord[] = [];
  const symbolic: ElfRelocation[] = [];
  const { at: insertedAt, count: insertedCount } = imported.inserted;
  const renumbered = (symbol: number): number => (symbol >= insertedAt ? symbol + insertedCount : symbol);
  /** Symbols in the new file that the stubs go on to, by the number of the function. */
  const rerouted = new Map<number, number>();
  const reroute = (name: string, symbol: number): number => {
    const number = ALLOCATION_FUNCTIONS.indexOf(name);
    if (number >= 0) rerouted.set(number, symbol);
    return number;
  };
  const isAddress = (type: number): boolean => type === types.absolute || type === types.globDat;
  const symbolicWord = (relocation: ElfRelocation, name: string): void => {
    const isPlain = relocation.addend === 0n && isAddress(relocation.type);
    const number = isPlain ? reroute(name, relocation.symbol) : -1;
    if (number < 0) symbolic.push(relocation);
    else relative.push({ place: relocation.offset, target: places.code + BigInt(stubOffset(number)) });
  };
  /** What the library itself defines is not rerouted. */
  const importedName = (symbol: number): string => {
    const { name, sectionIndex } = library.symbols[symbol] ?? { name: '', sectionIndex: 0 };
    return sectionIndex === SHN.SHN_UNDEF ? name : '';
  };
  const linkersWord = (relocation: ElfRelocation): void => {
    const { symbol } = relocation;
    symbolicWord({ ...relocation, symbol: renumbered(symbol) }, importedName(symbol));
  };

  // What belongs to the loader stays as the linker had it.
  for (let i = 0; i < library.rela.length; i++) {
    const relocation = relocationAt(library.rela, i);
    if (relocation.type === 0 || writableAt(library, relocation.offset)?.isLoaders === false) continue;
    if (relocation.type !== types.relative) linkersWord(relocation);
    else relative.push({ place: relocation.offset, target: BigInt.asUintN(64, relocation.addend) });
  }
  for (const word of library.relr) {
    if (writableAt(library, word.place)?.isLoaders !== false) relative.push(word);
  }
  for (const relocation of compared.bound) linkersWord(relocation);

  for (const at of compared.inward) {
    const value = compared.a.memory.word(BigInt(at));
    const target = places.placeOf(Number(value & ADDRESS_MASK)) + (value & ~ADDRESS_MASK);
    relative.push({ place: places.placeOf(at), target });
  }
  const { returned } = compared.a.run;
  const returnedTo = returned === undefined ? undefined : inwardTarget(compared, places, returned);
  if (returnedTo !== undefined)
    relative.push({ place: places.heap + BigInt(TABLE.returned), target: returnedTo });

  for (const word of compared.outward) {
    const target = targets.get(word.value);
    if (target === undefined) throw new UnexecError('INTERNAL', `0x${word.at.toString(16)} has no symbol`);
    const { symbol, addend, name } = target;
    symbolicWord({ offset: places.placeOf(word.at), type: types.absolute, symbol, addend }, name);
  }
  const jmprel = Array.from({ length: library.jmprel.length }, (_, i) => {
    const relocation = relocationAt(library.jmprel, i);
    const symbol = renumbered(relocation.symbol);
    const number = relocation.type === types.jumpSlot ? reroute(importedName(relocation.symbol), symbol) : -1;
    if (number < 0) return { ...relocation, symbol };
    const addend = places.code + BigInt(resolverOffset(number));
    return { ...relocation, type: types.irelative, symbol: 0, addend };
  });
  for (const [number, symbol] of rerouted) {
    const offset = places.heap + BigInt(TABLE.functions + 8 * number);
    symbolic.push({ offset, type: types.absolute, symbol, addend: 0n });
  }
  /** A loader remembers the symbol that it has looked up last; what is computed by code comes at the end. */
  const rank = ({ type, symbol }: ElfRelocation): number =>
    type === types.irelative ? Number.POSITIVE_INFINITY : symbol;
  return {
    relative: relative.sort((a, b) => (a.place < b.place ? -1 : 1)),
    symbolic: symbolic.sort((a, b) => compare(rank(a), rank(b)) || (a.offset < b.offset ? -1 : 1)),
    jmprel,
    rerouted: [...rerouted.keys()].map(number => ALLOCATION_FUNCTIONS[number] ?? ''),
  };
}

/** What the initialiser returned, if it is a pointer into the library or its blocks. */
function inwardTarget({ a, pairs }: ComparedRuns, places: Places, value: bigint): bigint | undefined {
  const { start, end } = a.run.library;
  const isKept = (value >= start && value < end) || pairs.numberAt(Number(value & ADDRESS_MASK)) >= 0;
  return isKept && value <= ADDRESS_MASK ? places.placeOf(Number(value)) : undefined;
}

const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
