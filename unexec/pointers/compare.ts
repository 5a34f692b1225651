/**
 * Two runs of a program that did the same thing at different addresses, compared word by word. What is equal
 * is a constant; what moved by as much as what it leads to is a pointer; the rest is listed with both values.
 *
 * A word is a pointer into the image also where it leads into the middle of something, one past its end, or
 * carries a tag in its low bits (all three move alike) or in its upper 16, equal in both runs. Pointers that
 * are not aligned are found where a word is unexplained as it is: first at odd multiples of 4 bytes, then
 * anywhere. A pointer that leads outside of every range, but moved by just as much as the image and by
 * 4 GiB or more, is one too: a base from which an index is counted (`biased`).
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import type { MemoryImage } from '../image.ts';
import { type Counts, Found, sumOf } from './found.ts';
import type { OutwardSlots } from './outward-list.ts';
import { KIND, PairJudge } from './pair-judge.ts';
import { moduleTable, type PairedModule, type PairedRange } from './ranges.ts';
import { CHUNK, ChunkBuffer, MARGIN, touchedStretches } from './stretches.ts';
import { claimUnaligned, type UnalignedSearch } from './unaligned.ts';

export interface Comparison {
  readonly ranges: readonly PairedRange[];
  readonly image: {
    readonly a: Pick<MemoryImage, 'regions' | 'memory'>;
    readonly b: Pick<MemoryImage, 'regions' | 'memory'>;
  };
  /** What lies outside of the image and is known in both runs: libraries, stacks, the loader. */
  readonly outside: readonly PairedModule[];
  /** At most so many words are listed (default: 1000); counts are exact. */
  readonly listed?: number;
  /** Called every few MiB with the bytes that have been compared. */
  readonly onProgress?: (bytes: number) => void;
}

export interface PointerComparison {
  /** In the order of the ranges that were given. */
  readonly ranges: readonly RangeComparison[];
  /** Sums over all ranges. */
  readonly counts: Counts;
  /** Words that are neither constants nor pointers: listed with both values. */
  readonly unexplained: readonly UnexplainedWord[];
  /** Pointers whose value is outside of every range, though it moves with one. They are among the slots. */
  readonly biased: readonly UnexplainedWord[];
}

export interface RangeComparison {
  readonly range: PairedRange;
  /** Offsets of the pointers into the image, from the range's first byte, ascending. */
  readonly slots: Float64Array;
  readonly outward: OutwardSlots;
  /**
   * Words that are equal in both runs and addresses of a module that did not move: pointers or numbers, the
   * comparison cannot tell.
   */
  readonly still: OutwardSlots;
  /** Offsets of the words that differ and are no pointers, ascending: all of them. */
  readonly unexplained: Float64Array;
  readonly counts: Counts;
}

export interface UnexplainedWord {
  readonly range: PairedRange;
  /** Bytes from the range's start. */
  readonly offset: number;
  readonly value1: bigint;
  readonly value2: bigint;
  /** The range or module into which it leads in both runs, at different places; undefined if none. */
  readonly into: string | undefined;
}

/**
 * The pointers in `ranges`, which both images hold.
 *
 * @throws UnexecError `SAME_ADDRESSES` where a range did not move: then nothing tells its pointers from
 *   numbers; `BAD_RANGES` where ranges overlap or are no addresses
 */
export function comparePointers(comparison: Comparison): PointerComparison {
  refuseSameAddresses(comparison.ranges);
  const search = new Search(comparison);
  const ranges = comparison.ranges.map(range => search.compare(range));
  return { ranges, counts: sumOf(ranges.map(({ counts }) => counts)), ...search.listed };
}

function refuseSameAddresses(ranges: readonly PairedRange[]): void {
  const same = ranges.filter(
    ({ start1, start2, size, fixed }) => size > 0 && fixed !== true && start1 === start2,
  );
  const [first] = same;
  if (first === undefined) return;
  const names = same.map(({ name }) => name).join(', ');
  throw new UnexecError(
    'SAME_ADDRESSES',
    `both runs have ${names} at the same address (0x${first.start1.toString(16)}): a comparison cannot tell pointers from numbers`,
    { hint: 'run the program again, with address randomisation on' },
  );
}

class Search {
  readonly #a = new ChunkBuffer();
  readonly #b = new ChunkBuffer();
  readonly #comparison: Comparison;
  readonly #judge: PairJudge;
  readonly #into: (value1: bigint, value2: bigint) => string | undefined;
  readonly #limit: number;
  #compared = 0;
  readonly listed = {
    unexplained: [] as UnexplainedWord[],
    biased: [] as UnexplainedWord[],
  };

  constructor(comparison: Comparison) {
    this.#comparison = comparison;
    this.#judge = new PairJudge(comparison.ranges, comparison.outside);
    this.#into = commonTarget(comparison);
    this.#limit = comparison.listed ?? 1000;
  }

  compare(range: PairedRange): RangeComparison {
    const found = new Found();
    if (range.searched !== false && range.size > 0) {
      const { a, b } = this.#comparison.image;
      const places = [
        { image: a, start: range.start1 },
        { image: b, start: range.start2 },
      ];
      for (const { start, end } of touchedStretches(places, range.size, range.skip)) {
        for (let at = start; at < end; at += CHUNK) this.#chunk(range, at, Math.min(CHUNK, end - at), found);
      }
    }
    return {
      range,
      slots: found.slots(),
      outward: found.outward.finish(),
      still: found.still.finish(),
      unexplained: found.unexplained.finish(),
      counts: found.counts(range),
    };
  }

  #chunk(range: PairedRange, position: number, size: number, found: Found): void {
    const { a, b } = this.#comparison.image;
    const skip = range.skip ?? [];
    const length = Math.ceil(size / 8) * 8;
    this.#a.fill(a, { start: range.start1, size: range.size, skip }, position, length);
    this.#b.fill(b, { start: range.start2, size: range.size, skip }, position, length);
    const unexplained = this.#alignedWords(range, position, length, found);
    if (unexplained.length > 0) this.#unalignedWords(range, position, unexplained, found);
    this.#compared += size;
    this.#comparison.onProgress?.(this.#compared);
  }

  /** Judges every word of the chunk; returns the buffer offsets of those that are unexplained as they are. */
  #alignedWords(range: PairedRange, position: number, length: number, found: Found): number[] {
    const a = this.#a.halves;
    const b = this.#b.halves;
    const judge = this.#judge;
    const { hasStill } = judge;
    const unexplained: number[] = [];
    const end = (MARGIN + length) / 4;
    for (let i = MARGIN / 4; i < end; i += 2) {
      const low1 = a[i] ?? 0;
      const high1 = a[i + 1] ?? 0;
      const low2 = b[i] ?? 0;
      const high2 = b[i + 1] ?? 0;
      const offset = position + i * 4 - MARGIN;
      if (low1 === low2 && high1 === high2) {
        if (hasStill && judge.judgeEqual(low1, high1) === KIND.STILL) {
          found.still.push(offset, judge.module, judge.target);
        }
        continue;
      }
      // The range may begin or end within this word: then it is no pointer of the range.
      const whole = offset >= 0 && offset + 8 <= range.size;
      const kind = whole ? judge.judge(low1, high1, low2, high2) : KIND.UNEXPLAINED;
      if (kind === KIND.POINTER) {
        found.aligned.push(offset);
        if (judge.tagged) found.tagged++;
      } else if (kind === KIND.OUTWARD) {
        found.outward.push(offset, judge.module, judge.target);
      } else if (kind === KIND.BIASED) {
        found.aligned.push(offset);
        found.biased++;
        this.#list(this.listed.biased, range, offset, i * 4);
      } else {
        unexplained.push(i * 4);
      }
    }
    return unexplained;
  }

  /** Words that differ and are no pointers by themselves may hold parts of some. */
  #unalignedWords(range: PairedRange, position: number, unexplained: readonly number[], found: Found): void {
    const base = position - MARGIN;
    const judge = this.#judge;
    const search: UnalignedSearch = {
      a: this.#a,
      b: this.#b,
      judge,
      isFree: at => base + at >= Math.max(0, found.claimedTo) && base + at + 8 <= range.size,
      claim: (at, kind) => {
        found.claimedTo = base + at + 8;
        if (kind === KIND.OUTWARD) {
          found.outward.push(base + at, judge.module, judge.target);
          return;
        }
        found.unaligned.push(base + at);
        if (judge.tagged) found.tagged++;
      },
    };
    for (const at of unexplained) {
      if (claimUnaligned(search, at, found.claimedTo - base)) continue;
      found.unexplained.push(base + at);
      this.#list(this.listed.unexplained, range, base + at, at);
    }
  }

  #list(list: UnexplainedWord[], range: PairedRange, offset: number, at: number): void {
    if (list.length >= this.#limit) return;
    const value1 = this.#a.view.getBigUint64(at, true);
    const value2 = this.#b.view.getBigUint64(at, true);
    list.push({ range, offset, value1, value2, into: this.#into(value1, value2) });
  }
}

/** Into what both values of a word lead, for messages. */
function commonTarget({
  ranges,
  outside,
}: Comparison): (value1: bigint, value2: bigint) => string | undefined {
  const finders = [ranges, outside].map(places => {
    const first = moduleTable(places.map(({ name, start1, size }) => ({ name, start: start1, size })));
    const second = moduleTable(places.map(({ name, start2, size }) => ({ name, start: start2, size })));
    return (value1: bigint, value2: bigint): string | undefined => {
      const index = first.find(Number(value1));
      return index >= 0 && index === second.find(Number(value2)) ? places[index]?.name : undefined;
    };
  });
  return (value1, value2) => finders.map(find => find(value1, value2)).find(name => name !== undefined);
}
