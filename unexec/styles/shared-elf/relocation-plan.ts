/**
 * The relocations of a frozen library: those that its loader's words had, those of the words that were dumped,
 * and the rerouted imports of functions that take a block.
 *
 * @module
 */
import { type ElfRelocation, relocationAt, SHN } from '../../../formats/elf/index.ts';
import {
  ALLOCATION_FUNCTIONS,
  resolverOffset,
  stubOffset,
  TABLE,
} from '../../frozen-allocations/functions.ts';
import type { ReadRun } from './bound-words.ts';
import type { ComparedRuns, OutwardWord } from './compare-runs.ts';
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

/** The symbol, and what is added, that a word leading out of the library stands for. */
export interface OutwardTarget {
  readonly symbol: number;
  readonly addend: bigint;
}

/** @throws UnexecError `CANNOT_BE_KEPT` for pointers out of the library that no relocation can say */
export function planRelocations(
  library: LibraryFile,
  compared: ComparedRuns,
  places: Places,
): RelocationPlan {
  const { types } = library;
  const relative: RelativeWord[] = [];
  const symbolic: ElfRelocation[] = [];
  const numbers = new Map(
    library.symbols.map(({ name, sectionIndex }, symbol) => [
      symbol,
      sectionIndex === SHN.SHN_UNDEF ? ALLOCATION_FUNCTIONS.indexOf(name) : -1,
    ]),
  );
  const numberOf = (symbol: number): number => numbers.get(symbol) ?? -1;
  const rerouted = new Map<number, number>();
  const reroute = (symbol: number): number => {
    const number = numberOf(symbol);
    if (number >= 0) rerouted.set(number, symbol);
    return number;
  };
  const symbolicWord = (relocation: ElfRelocation): void => {
    const number = relocation.addend === 0n && isAddress(relocation.type) ? reroute(relocation.symbol) : -1;
    if (number < 0) symbolic.push(relocation);
    else relative.push({ place: relocation.offset, target: places.code + BigInt(stubOffset(number)) });
  };
  const isAddress = (type: number): boolean => type === types.absolute || type === types.globDat;

  // What belongs to the loader stays as the linker had it.
  for (let i = 0; i < library.rela.length; i++) {
    const relocation = relocationAt(library.rela, i);
    if (relocation.type === 0 || writableAt(library, relocation.offset)?.isLoaders === false) continue;
    if (relocation.type !== types.relative) symbolicWord(relocation);
    else relative.push({ place: relocation.offset, target: BigInt.asUintN(64, relocation.addend) });
  }
  for (const relocation of compared.bound) symbolicWord(relocation);

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
    const { symbol, addend } = outwardTarget(library, compared.a, word) ?? { symbol: 0, addend: 0n };
    symbolicWord({ offset: places.placeOf(word.at), type: types.absolute, symbol, addend });
  }
  const jmprel = Array.from({ length: library.jmprel.length }, (_, i) => {
    const relocation = relocationAt(library.jmprel, i);
    const number = relocation.type === types.jumpSlot ? reroute(relocation.symbol) : -1;
    if (number < 0) return relocation;
    const addend = places.code + BigInt(resolverOffset(number));
    return { ...relocation, type: types.irelative, symbol: 0, addend };
  });
  for (const [number, symbol] of rerouted) {
    const offset = places.heap + BigInt(TABLE.functions + 8 * number);
    symbolic.push({ offset, type: types.absolute, symbol, addend: 0n });
  }
  return {
    relative: relative.sort((a, b) => (a.place < b.place ? -1 : 1)),
    symbolic: symbolic.sort((a, b) => a.symbol - b.symbol || (a.offset < b.offset ? -1 : 1)),
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

/** Undefined where no import of the library says it. */
export function outwardTarget(
  library: LibraryFile,
  run: ReadRun,
  { value, module }: Pick<OutwardWord, 'value' | 'module'>,
): OutwardTarget | undefined {
  const imported = run.importOf.get(value);
  if (imported !== undefined) return { symbol: imported, addend: 0n };
  if (module === undefined) return undefined;
  const found = run.symbols.resolve(Number(value));
  if (found.kind === 'refused') return undefined;
  const symbol = library.symbols.findIndex(
    ({ name, sectionIndex }, i) =>
      name === found.symbol &&
      sectionIndex === SHN.SHN_UNDEF &&
      (library.versions[i] === undefined || library.versions[i]?.name === found.version),
  );
  return symbol < 0 ? undefined : { symbol, addend: BigInt(found.addend) };
}
