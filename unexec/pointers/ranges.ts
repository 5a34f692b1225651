/**
 * Where pointers are searched and where they may lead to: ranges of the image, and modules outside of it.
 * As a table that is asked for an address some ten million times a second.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';

/** Bytes `[start, end)` of a range, from its first. */
export interface Skipped {
  readonly start: number;
  readonly end: number;
}

interface ImageRange {
  /** For messages: a segment's or section's name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** False: pointers may lead to it, but its own words are of no interest (code, say). Default: true. */
  readonly searched?: boolean;
  /** What of it is not searched: words that the loader makes. They count as constants. */
  readonly skip?: readonly Skipped[];
}

/** A range of the image in two runs. All may have moved by the same amount, or each by its own. */
export interface PairedRange extends ImageRange {
  /** Address in the first run, and in the second. They differ by a multiple of 8. */
  readonly start1: bigint;
  readonly start2: bigint;
  /** It is linked to its address and cannot move, so pointers to it are constants (default: false). */
  readonly fixed?: boolean;
}

/** Something outside of the image that pointers may lead to, in two runs. */
export interface PairedModule {
  readonly name: string;
  readonly start1: bigint;
  readonly start2: bigint;
  readonly size: number;
}

/** A range of the only image that there is. */
export interface ScannedRange extends ImageRange {
  readonly start: bigint;
  /**
   * Why a pointer to this byte of the range (from its first; below `size`) would be odd: `in a free block`,
   * `not the start of a function`. Undefined: it would not. Asked for every pointer that is found.
   */
  readonly doubtTo?: (offset: number) => string | undefined;
  /** Why a pointer at this byte of the range would be odd. Asked for every pointer that is found. */
  readonly doubtAt?: (offset: number) => string | undefined;
}

/** Something outside of the only image that pointers may lead to. */
export interface ScannedModule {
  readonly name: string;
  readonly start: bigint;
  readonly size: number;
}

/** Addresses of user space have at most 48 bits on both architectures, unless a program asks for more. */
const ADDRESS_END = 2n ** 48n;

interface Addressed {
  readonly name: string;
  readonly start: bigint;
  readonly size: number;
}

/**
 * Those that are not empty, by address, as numbers and with their index in the list.
 *
 * @throws UnexecError `BAD_RANGES` where they overlap or are no addresses of user space
 */
export function checkApart(ranges: readonly Addressed[]) {
  for (const { name, start, size } of ranges) {
    const sized = Number.isSafeInteger(size) && size >= 0;
    if (sized && start >= 0n && start + BigInt(size) <= ADDRESS_END) continue;
    throw badRanges(`${name}: ${size} bytes at 0x${start.toString(16)}, expected addresses below 2^48`);
  }
  const sorted = ranges
    .map(({ name, start, size }, index) => ({ name, start: Number(start), end: Number(start) + size, index }))
    .filter(({ start, end }) => end > start)
    .sort((a, b) => a.start - b.start);
  for (const [i, { name, start }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before === undefined || before.end <= start) continue;
    throw badRanges(`${before.name} and ${name} overlap at 0x${start.toString(16)}, expected them apart`);
  }
  return sorted;
}

/** Disjoint stretches of addresses, to be found by address. Addresses are numbers here: they are below 2^48. */
export class RangeTable {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  /** Index in the list that was given. */
  readonly #indexes: Uint32Array;
  #last = 0;

  /** @throws UnexecError `BAD_RANGES` where they overlap or are no addresses of user space */
  constructor(ranges: readonly Addressed[]) {
    const sorted = checkApart(ranges);
    this.#starts = Float64Array.from(sorted, ({ start }) => start);
    this.#ends = Float64Array.from(sorted, ({ end }) => end);
    this.#indexes = Uint32Array.from(sorted, ({ index }) => index);
  }

  /** Lowest address and exclusive highest of all; both 0 where there are none. */
  get low(): number {
    return this.#starts[0] ?? 0;
  }
  get high(): number {
    return this.#ends[this.#ends.length - 1] ?? 0;
  }

  /** Index of the range that holds this address; -1 where none does. */
  find(address: number): number {
    // Pointers that lie side by side often lead to the same place.
    let at = this.#last;
    if (!(address >= (this.#starts[at] ?? 1) && address < (this.#ends[at] ?? 0))) {
      at = this.#before(address);
      if (at < 0 || address >= (this.#ends[at] ?? 0)) return -1;
      this.#last = at;
    }
    return this.#indexes[at] ?? -1;
  }

  /** Index of the range whose end (the address after its last byte) this is; -1 where there is none. */
  findEnd(address: number): number {
    const at = this.#before(address - 1);
    return at >= 0 && this.#ends[at] === address ? (this.#indexes[at] ?? -1) : -1;
  }

  /** The last stretch that starts at or before this address. */
  #before(address: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/**
 * A table of modules, by the same indexes. One beyond 48 bits (Linux maps [vsyscall] there) is left out: no
 * pointer that would be kept leads to it.
 */
export const moduleTable = (modules: readonly Addressed[]): RangeTable =>
  new RangeTable(
    modules.map(module =>
      module.start + BigInt(module.size) > ADDRESS_END ? { ...module, start: 0n, size: 0 } : module,
    ),
  );

export const badRanges = (message: string): UnexecError =>
  new UnexecError('BAD_RANGES', `ranges to search for pointers: ${message}`);
