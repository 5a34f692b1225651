/**
 * Bytes that differ, summed up by the symbol that they are in. Heaps and stacks have no symbols.
 *
 * @module
 */
import type { DiffSymbol } from './model.ts';
import type { SymbolSpan } from './side.ts';

/** In what way bytes differ. */
export type Difference = 'changed' | 'moved' | 'onlyA' | 'onlyB';

/** Where in each of the two an area begins; undefined where one does not have it. */
export interface AreaPlace {
  readonly region: string;
  readonly startA: bigint | undefined;
  readonly startB: bigint | undefined;
}

type Sum = { -readonly [K in keyof DiffSymbol]: DiffSymbol[K] };

export class SymbolSums {
  readonly #a: SymbolTable;
  readonly #b: SymbolTable;
  readonly #sums = new Map<string, Sum>();

  constructor(a: readonly SymbolSpan[], b: readonly SymbolSpan[]) {
    this.#a = new SymbolTable(a);
    this.#b = new SymbolTable(b);
  }

  /** `size` bytes at `offset` of an area, which may be in several symbols. */
  add(place: AreaPlace, offset: number, size: number, difference: Difference): void {
    const end = offset + size;
    for (let at = offset; at < end; ) {
      const found = this.find(place, at);
      const stop = Math.min(end, found.end);
      if (found.symbol !== undefined) {
        const sum = this.#sumOf(place, found.symbol, at);
        sum[difference] += stop - at;
      }
      at = stop;
    }
  }

  /** The symbol at an offset of an area, from either of the two; `end`: the offset up to which that is so. */
  find(place: AreaPlace, offset: number): { readonly symbol: SymbolPlace | undefined; readonly end: number } {
    const inA = lookUp(this.#a, place.startA, offset);
    if (inA.symbol !== undefined) return inA;
    const inB = lookUp(this.#b, place.startB, offset);
    if (inB.symbol !== undefined) return inB;
    return { symbol: undefined, end: Math.min(inA.end, inB.end) };
  }

  /** Those in which the most bytes differ, pointers that moved counting last. */
  biggest(count: number): DiffSymbol[] {
    const weight = ({ changed, onlyA, onlyB }: DiffSymbol): number => changed + onlyA + onlyB;
    return [...this.#sums.values()]
      .sort((x, y) => weight(y) - weight(x) || y.moved - x.moved || (x.name < y.name ? -1 : 1))
      .slice(0, count);
  }

  #sumOf({ region, startA, startB }: AreaPlace, { name, into }: SymbolPlace, at: number): Sum {
    const address = (start: bigint | undefined): DiffSymbol['addressA'] =>
      start === undefined ? null : `0x${(start + BigInt(at - into)).toString(16)}`;
    const key = `${name}\n${address(startA)}\n${address(startB)}`;
    const known = this.#sums.get(key);
    if (known !== undefined) return known;
    const sum: Sum = {
      ...{ name, region, addressA: address(startA), addressB: address(startB) },
      ...{ changed: 0, moved: 0, onlyA: 0, onlyB: 0 },
    };
    this.#sums.set(key, sum);
    return sum;
  }
}

export interface SymbolPlace {
  readonly name: string;
  /** Bytes from where the symbol begins. */
  readonly into: number;
}

function lookUp(table: SymbolTable, start: bigint | undefined, offset: number) {
  if (start === undefined) return { symbol: undefined, end: Number.POSITIVE_INFINITY };
  const { symbol, end } = table.find(Number(start) + offset);
  return { symbol, end: end - Number(start) };
}

/** Symbols by address; addresses are numbers here, as they are below 2^48. */
class SymbolTable {
  readonly #symbols: readonly SymbolSpan[];
  readonly #starts: Float64Array;

  constructor(symbols: readonly SymbolSpan[]) {
    this.#symbols = symbols.filter(({ size }) => size > 0);
    this.#starts = Float64Array.from(this.#symbols, ({ address }) => Number(address));
  }

  find(address: number): { readonly symbol: SymbolPlace | undefined; readonly end: number } {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const next = this.#starts[low] ?? Number.POSITIVE_INFINITY;
    const symbol = this.#symbols[low - 1];
    const start = this.#starts[low - 1] ?? 0;
    if (symbol === undefined || address >= start + symbol.size) return { symbol: undefined, end: next };
    return { symbol: { name: symbol.name, into: address - start }, end: Math.min(next, start + symbol.size) };
  }
}
