/**
 * Symbols by address: sorted at the first lookup, 300,000 of them in a third of a second. Those of a relocatable have no
 * address and are found by their offset in the file.
 *
 * @module
 */
import type { SymbolDescription, SymbolPlace } from './model.ts';

/** A symbol as its table has it. */
export interface RawSymbol {
  readonly name: string;
  /** Address, or in a relocatable the offset in the file. */
  readonly position: bigint;
  /** Bytes; 0 where the table does not say. */
  readonly size: number;
  readonly type: SymbolDescription['type'];
  /** Beside another one at the same place this is the better name. */
  readonly isGlobal: boolean;
}

export interface SymbolSource {
  /** Every symbol that is somewhere in the image, in any order. */
  read(): readonly RawSymbol[];
  /** Where what is at a position ends, and with it the last symbol in it. */
  endOf(position: bigint): bigint | undefined;
  /** Of a position. */
  addressOf(position: bigint): bigint | undefined;
  offsetOf(position: bigint): number | undefined;
}

/** A function that contains smaller symbols is looked for so many symbols back. */
const MAX_NESTED = 64;

export class SymbolIndex {
  readonly #source: SymbolSource;
  #sorted: readonly RawSymbol[] | undefined;
  #described: readonly SymbolDescription[] | undefined;

  constructor(source: SymbolSource) {
    this.#source = source;
  }

  at(position: bigint): SymbolPlace | undefined {
    const symbols = this.#symbols();
    for (let i = this.#lastUpTo(position), steps = 0; i >= 0 && steps < MAX_NESTED; i--, steps++) {
      const symbol = symbols[i];
      if (symbol === undefined) break;
      const into = position - symbol.position;
      if (into < BigInt(this.#sizeOf(i))) return { symbol: this.#describe(i), into: Number(into) };
    }
    return undefined;
  }

  find(text: string, limit: number): SymbolDescription[] {
    const wanted = text.toLowerCase();
    if (wanted === '') return [];
    const found: { readonly rank: number; readonly index: number }[] = [];
    let best = 0;
    for (const [index, { name }] of this.#symbols().entries()) {
      const at = name.toLowerCase().indexOf(wanted);
      if (at < 0) continue;
      // Mach-O's underscore is no part of what a programmer looks for.
      const begins = at === 0 || (at === 1 && name.startsWith('_'));
      const rank = !begins ? 2 : at + text.length < name.length ? 1 : 0;
      if (rank === 0) best++;
      found.push({ rank, index });
      if (best >= limit) break;
    }
    return found
      .sort((a, b) => a.rank - b.rank || a.index - b.index)
      .slice(0, limit)
      .map(({ index }) => this.#describe(index));
  }

  all(): readonly SymbolDescription[] {
    this.#described ??= this.#symbols().map((_, i) => this.#describe(i));
    return this.#described;
  }

  #symbols(): readonly RawSymbol[] {
    this.#sorted ??= sorted(this.#source.read());
    return this.#sorted;
  }

  /** The last one that begins at `position` or before; of several at one place the last is the best. */
  #lastUpTo(position: bigint): number {
    const symbols = this.#symbols();
    let low = 0;
    let high = symbols.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((symbols[middle]?.position ?? 0n) <= position) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #sizeOf(index: number): number {
    const symbols = this.#symbols();
    const symbol = symbols[index];
    if (symbol === undefined || symbol.size > 0) return symbol?.size ?? 0;
    let next = index + 1;
    while (symbols[next]?.position === symbol.position) next++;
    const following = symbols[next]?.position;
    const end = this.#source.endOf(symbol.position);
    if (end === undefined) return 0;
    return Number((following !== undefined && following < end ? following : end) - symbol.position);
  }

  #describe(index: number): SymbolDescription {
    const { name, position, type } = this.#symbols()[index] ?? NONE;
    return {
      name,
      address: this.#source.addressOf(position),
      offset: this.#source.offsetOf(position),
      size: this.#sizeOf(index),
      type,
    };
  }
}

const NONE: RawSymbol = { name: '', position: 0n, size: 0, type: 'other', isGlobal: false };

/** By position, the best name of a place last. Comparing numbers is ten times faster than comparing bigints. */
function sorted(symbols: readonly RawSymbol[]): RawSymbol[] {
  const keys = Float64Array.from(symbols, ({ position }) => Number(position));
  const order = Uint32Array.from(symbols, (_, i) => i).sort((a, b) => {
    const difference = (keys[a] ?? 0) - (keys[b] ?? 0);
    if (difference !== 0) return difference;
    const x = symbols[a] ?? NONE;
    const y = symbols[b] ?? NONE;
    if (x.position !== y.position) return x.position < y.position ? -1 : 1;
    return goodness(x) - goodness(y) || b - a;
  });
  return Array.from(order, i => symbols[i] ?? NONE);
}

const goodness = ({ size, isGlobal, type }: RawSymbol): number =>
  (size > 0 ? 4 : 0) + (type === 'other' ? 0 : 2) + (isGlobal ? 1 : 0);
