/**
 * The words that the loader bound to symbols of libraries: which of them the program has left alone (they
 * stay binds), which it has overwritten (they become data), and which import a value in memory stands
 * for, so that a pointer to a library's function that the program stored elsewhere becomes a bind too.
 *
 * @module
 */
import type { MemoryReader } from '../../image.ts';

/** A word that the loader binds. */
export interface Bound {
  /** Of the file. */
  readonly address: bigint;
  readonly symbol: string;
  /** Which library has the symbol, where the format says that. */
  readonly libOrdinal: number;
  /** Added to the address of the symbol. */
  readonly addend: bigint;
  /** The symbol may be missing: then the word is 0. */
  readonly weak: boolean;
  /** Bound when the function is first called. */
  readonly lazy: boolean;
}

export interface BoundWords<B extends Bound> {
  /** Binds whose word holds what the loader put there. */
  readonly kept: readonly B[];
  /** Binds whose word the program has written. */
  readonly overwritten: readonly B[];
  /** Value in memory → an import that has this value, without addend. */
  readonly importOf: ReadonlyMap<bigint, B>;
  /** Imports whose value memory does not say, or of whose library it has nothing. */
  readonly unknown: number;
}

export interface BoundWordsInput<B extends Bound> {
  readonly binds: readonly B[];
  /** Whether only the loader writes to the word at this address (of the file). */
  readonly isLoaders: (address: bigint) => boolean;
  readonly memory: MemoryReader;
  readonly slide: bigint;
  /** Whether an address of the process is in the program's own image. */
  readonly isInImage: (address: bigint) => boolean;
  /** Whether anything is mapped at an address of the process. */
  readonly isMapped: (address: bigint) => boolean;
  /** Whether nobody has written to the word at this address (of the file), and memory does not have it. */
  readonly isClean?: (address: bigint) => boolean;
}

/** Sorts the binds by what memory holds now. */
export function readBoundWords<B extends Bound>(input: BoundWordsInput<B>): BoundWords<B> {
  const read = wordReader(input.memory, input.slide);
  const values = new Map<string, bigint>();
  const importOf = new Map<bigint, B>();
  const isClean = input.isClean ?? (() => false);
  let unknown = 0;
  const isUsable = (bind: B, value: bigint): boolean =>
    bind.addend === 0n && value !== 0n && !input.isInImage(value);
  for (const bind of input.binds) {
    if (!input.isLoaders(bind.address)) continue;
    if (isClean(bind.address)) {
      unknown++;
      continue;
    }
    const value = read(bind.address) - bind.addend;
    // Until its function is first called, a lazy pointer leads to its stub helper.
    if (bind.lazy && input.isInImage(value)) continue;
    if (value !== 0n && !input.isInImage(value) && !input.isMapped(value)) unknown++;
    values.set(nameOf(bind), value);
    if (isUsable(bind, value)) importOf.set(value, bind);
  }

  const kept: B[] = [];
  const overwritten: B[] = [];
  for (const bind of input.binds) {
    if (input.isLoaders(bind.address) || isClean(bind.address)) {
      kept.push(bind);
      continue;
    }
    const value = read(bind.address);
    const expected = values.get(nameOf(bind));
    const isKept =
      expected === undefined
        ? isPlausible(value, bind, input, unknown > 0) && !isAnother(bind, importOf.get(value - bind.addend))
        : value === expected + bind.addend;
    if (!isKept) overwritten.push(bind);
    else {
      kept.push(bind);
      if (isUsable(bind, value)) importOf.set(value, bind);
    }
  }
  return { kept, overwritten, importOf, unknown };
}

/**
 * Where nothing says what the loader put there: something outside of the program (its own definitions
 * are rebased, not bound), or 0 for an import that may be missing.
 */
const isPlausible = (
  value: bigint,
  bind: Bound,
  { isInImage, isMapped }: Pick<BoundWordsInput<Bound>, 'isInImage' | 'isMapped'>,
  lacksLibraries: boolean,
): boolean => (value === 0n ? bind.weak : !isInImage(value) && (lacksLibraries || isMapped(value)));

/** Whether the value is known to be that of another import. */
const isAnother = (bind: Bound, known: Bound | undefined): boolean =>
  known !== undefined && nameOf(known) !== nameOf(bind);

const nameOf = ({ symbol, libOrdinal }: Bound): string => `${libOrdinal} ${symbol}`;

function wordReader(memory: MemoryReader, slide: bigint): (address: bigint) => bigint {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  return address => {
    memory.read(address + slide, bytes);
    return view.getBigUint64(0, true);
  };
}
