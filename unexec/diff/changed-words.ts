/**
 * What the words are that differ on changed pages: pointers that moved with what they lead to, or something else, of
 * which it is told what it seems to be. The comparison is the one that restart makes its relocations with.
 *
 * @module
 */
import { type MemoryReader, PAGE } from '../image.ts';
import { comparePointers, type PointerComparison, type UnexplainedWord } from '../pointers/compare.ts';
import { type Diagnosis, type DiagnosisKind, diagnose } from '../pointers/diagnose.ts';
import type { PairedRange, Skipped } from '../pointers/ranges.ts';
import type { Stretch } from '../stretches.ts';
import type { Common } from './compare-pages.ts';
import type { Area, Side } from './side.ts';

/** Words that are listed and told; the others are only counted. */
const LISTED = 20_000;

/** An area that both have, with its pages that differ. */
export interface ChangedArea {
  readonly area: Area;
  readonly common: Common;
  readonly changed: readonly Stretch[];
}

export interface ChangedWords {
  /** One for each area, in their order. */
  readonly areas: readonly AreaWords[];
  /** The unexplained ones, as far as they are listed. */
  readonly words: readonly ToldWord[];
}

/** Offsets of words from the first byte of what both areas have, ascending. */
export interface AreaWords {
  /** Pointers that moved with what they lead to. */
  readonly moved: Float64Array;
  readonly unexplained: Float64Array;
  /** What the unexplained words seem to be, of those that are listed. */
  readonly kinds: Kinds;
}

export type Kinds = { readonly [K in DiagnosisKind]?: number };

export interface ToldWord extends UnexplainedWord {
  readonly diagnosis: Diagnosis;
}

/** @throws UnexecError `BAD_RANGES` where a damaged file has areas that overlap */
export function compareWords(areas: readonly ChangedArea[], a: Side, b: Side): ChangedWords {
  const onGrid = areas.filter(isOnGrid);
  const ranges = onGrid.map(rangeOf);
  const image = { a: within(a.areas, a.memory), b: within(b.areas, b.memory) };
  const comparison = comparePointers({ ranges, image, outside: [], listed: LISTED });
  const found = new Map(onGrid.map((area, i) => [area, comparison.ranges[i]]));
  const words = told(comparison, ranges, a, b);
  const kinds = kindsByRange(words);
  return {
    areas: areas.map(area => {
      const compared = found.get(area);
      return compared === undefined
        ? { moved: new Float64Array(), unexplained: differing(area, a.memory, b.memory), kinds: {} }
        : {
            moved: compared.slots,
            unexplained: compared.unexplained,
            kinds: kinds.get(compared.range) ?? {},
          };
    }),
    words,
  };
}

function kindsByRange(words: readonly ToldWord[]): Map<PairedRange, Kinds> {
  const found = new Map<PairedRange, { [K in DiagnosisKind]?: number }>();
  for (const { range, diagnosis } of words) {
    const counts = found.get(range) ?? {};
    counts[diagnosis.kind] = (counts[diagnosis.kind] ?? 0) + 1;
    found.set(range, counts);
  }
  return found;
}

const WORD = 8;

/** Sections of two programs may lie on other bytes of a word: such words cannot be held side by side as addresses. */
const isOnGrid = ({ common }: ChangedArea): boolean => (common.startB - common.startA) % BigInt(WORD) === 0n;

function differing({ common, changed }: ChangedArea, a: MemoryReader, b: MemoryReader): Float64Array {
  const offsets: number[] = [];
  for (const { start, end } of changed) {
    for (let at = start; at < end; at += PAGE) {
      const length = Math.min(PAGE, end - at);
      const one = Buffer.alloc(length);
      const other = Buffer.alloc(length);
      a.read(common.startA + BigInt(at), one);
      b.read(common.startB + BigInt(at), other);
      for (let word = 0; word < length; word += WORD) {
        const stop = Math.min(length, word + WORD);
        if (one.compare(other, word, stop, word, stop) !== 0) offsets.push(at + word);
      }
    }
  }
  return Float64Array.from(offsets);
}

function rangeOf({ area, common, changed }: ChangedArea): PairedRange {
  return {
    name: area.name,
    size: common.size,
    start1: common.startA,
    start2: common.startB,
    fixed: common.startA === common.startB,
    searched: changed.length > 0,
    skip: around(changed, common.size),
  };
}

/** The pages between those that differ. */
function around(changed: readonly Stretch[], size: number): Skipped[] {
  const skipped: Skipped[] = [];
  let at = 0;
  for (const { start, end } of changed) {
    if (start > at) skipped.push({ start: at, end: start });
    at = end;
  }
  if (at < size) skipped.push({ start: at, end: size });
  return skipped;
}

const within = (regions: readonly Area[], memory: MemoryReader) => ({ regions, memory });

function told(
  { unexplained }: PointerComparison,
  ranges: readonly PairedRange[],
  a: Side,
  b: Side,
): ToldWord[] {
  const diagnoses = diagnose({
    arch: a.arch,
    words: unexplained,
    ranges,
    outside: [],
    image: { a, b },
    runs: [a.facts, b.facts],
  });
  return unexplained.flatMap((word, i) => {
    const diagnosis = diagnoses[i];
    return diagnosis === undefined ? [] : [{ ...word, diagnosis }];
  });
}
