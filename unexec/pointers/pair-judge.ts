/**
 * What a word is that has two values in two runs. The rule is the same for every kind of pointer: it moved by
 * exactly as much as what it leads to. Called some ten million times a second, so in 32-bit halves and
 * doubles, which hold an address of 48 bits, rather than in bigints.
 *
 * @module
 */
import {
  badRanges,
  checkApart,
  moduleTable,
  type PairedModule,
  type PairedRange,
  RangeTable,
} from './ranges.ts';

export const KIND = { CONSTANT: 0, POINTER: 1, BIASED: 2, OUTWARD: 3, STILL: 4, UNEXPLAINED: 5 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

const HIGH = 2 ** 32;
/** A difference of that size does not come about by chance; one of a few pages does, in counters and sizes. */
const TELLING_SHIFT = 2 ** 32;

export class PairJudge {
  readonly #ranges: RangeTable;
  readonly #modules: RangeTable;
  readonly #rangeShifts: Float64Array;
  readonly #moduleShifts: Float64Array;
  readonly #moduleStarts: Float64Array;
  /** Shifts of the image that are no module's, and so large that a value with this difference is no accident. */
  readonly #tellingShifts: ReadonlySet<number>;
  readonly #still: RangeTable;
  readonly #stillIndexes: readonly number[];
  /** The last word was OUTWARD or STILL: index of the module, and bytes from its start. */
  module = -1;
  target = 0;
  /** The last word was a POINTER with something in its upper 16 bits. */
  tagged = false;

  /** @throws UnexecError `BAD_RANGES` where ranges overlap, or moved by no multiple of 8 */
  constructor(ranges: readonly PairedRange[], modules: readonly PairedModule[]) {
    for (const range of ranges) {
      const shift = shiftOf(range);
      if (shift % 8 !== 0) {
        throw badRanges(`${range.name} moved by ${shift} bytes, expected a multiple of 8`);
      }
      if (range.fixed === true && shift !== 0) {
        throw badRanges(`${range.name} is said to be fixed and moved by ${shift} bytes`);
      }
    }
    this.#ranges = new RangeTable(ranges.map(inFirst));
    checkApart(ranges.map(inSecond));
    this.#modules = moduleTable(modules.map(inFirst));
    this.#moduleStarts = Float64Array.from(modules, ({ start1 }) => Number(start1));
    this.#rangeShifts = Float64Array.from(ranges, shiftOf);
    this.#moduleShifts = Float64Array.from(modules, shiftOf);
    const taken = new Set(this.#moduleShifts);
    this.#tellingShifts = new Set(
      this.#rangeShifts.filter(shift => Math.abs(shift) >= TELLING_SHIFT && !taken.has(shift)),
    );
    const still = modules.flatMap((module, index) => (shiftOf(module) === 0 ? [{ module, index }] : []));
    this.#still = moduleTable(still.map(({ module }) => inFirst(module)));
    this.#stillIndexes = still.map(({ index }) => index);
  }

  /** Some module lies at the same address in both runs: words that are equal may be pointers to it. */
  get hasStill(): boolean {
    return this.#stillIndexes.length > 0;
  }

  /** Of a word that is equal in both runs: whether it is an address of a module that did not move. */
  judgeEqual(low: number, high: number): Kind {
    if (high >>> 16 !== 0) return KIND.CONSTANT;
    const found = this.#still.find(high * HIGH + (low >>> 0));
    if (found < 0) return KIND.CONSTANT;
    this.module = this.#stillIndexes[found] ?? -1;
    this.target = high * HIGH + (low >>> 0) - (this.#moduleStarts[this.module] ?? 0);
    return KIND.STILL;
  }

  /** Of a word whose values differ. */
  judge(low1: number, high1: number, low2: number, high2: number): Kind {
    const tag = high1 >>> 16;
    // Whatever a program keeps in the upper bits, it is the same in both runs, or no tag.
    if (tag !== high2 >>> 16) return KIND.UNEXPLAINED;
    const address = (high1 & 0xffff) * HIGH + (low1 >>> 0);
    const shift = (high2 & 0xffff) * HIGH + (low2 >>> 0) - address;
    this.tagged = tag !== 0;
    if (this.#moves(this.#ranges.find(address), shift)) return KIND.POINTER;
    if (this.#leaves(this.#modules.find(address), shift, address)) {
      return tag === 0 ? KIND.OUTWARD : KIND.UNEXPLAINED;
    }
    // One past the end: of an array at the end of its range, or the bound of the range itself.
    if (this.#moves(this.#ranges.findEnd(address), shift)) return KIND.POINTER;
    if (tag === 0 && this.#leaves(this.#modules.findEnd(address), shift, address)) return KIND.OUTWARD;
    return this.#tellingShifts.has(shift) ? KIND.BIASED : KIND.UNEXPLAINED;
  }

  #moves(range: number, shift: number): boolean {
    return range >= 0 && this.#rangeShifts[range] === shift;
  }

  #leaves(module: number, shift: number, address: number): boolean {
    if (module < 0 || this.#moduleShifts[module] !== shift) return false;
    this.module = module;
    this.target = address - (this.#moduleStarts[module] ?? 0);
    return true;
  }
}

const shiftOf = ({ start1, start2 }: { readonly start1: bigint; readonly start2: bigint }): number =>
  Number(start2 - start1);
const inFirst = ({ name, start1, size }: PairedModule) => ({ name, start: start1, size });
const inSecond = ({ name, start2, size }: PairedModule) => ({ name, start: start2, size });
