/**
 * The pointers in what is dumped: by comparison where there are two runs, else by a scan. Gives the slots of
 * each range, the words that lead out of the program, and what a user should know of the rest. Of no
 * format: a program is ranges of addresses that slide together.
 *
 * @module
 */

import { hex } from '../../../formats/errors.ts';
import type { MemoryImage } from '../../image.ts';
import type { RunFacts } from '../../pointers/diagnose.ts';
import {
  comparePointers,
  compareThree,
  type OutwardSlots,
  type PointerComparison,
  type PointerScan,
  scanPointers,
} from '../../pointers.ts';
import type { Stretch } from '../../stretches.ts';
import { mergeOffsets } from './merge-offsets.ts';
import { type NamedMapping, outsideOf, pairedOutside, slotOutside, withSlots } from './outside.ts';
import { type PointerMap, pointerMap } from './pointer-map.ts';
import { tellUnexplained } from './tell-unexplained.ts';
import { wordsInto } from './words-into.ts';

/** A run of the program: its memory, and how far it slid. */
export interface Run {
  readonly image: MemoryImage;
  readonly slide: bigint;
  /** What is known of the process beside its memory. */
  readonly facts?: RunFacts | undefined;
  /** Of a second run: a third one, which settles coincidences. */
  readonly again?: Run | undefined;
}

/** A stretch of the program: pointers may lead to it, and are searched in it if it is dumped. */
export interface ProgramRange {
  /** Index of its segment. */
  readonly index: number;
  readonly name: string;
  /** Without slide. */
  readonly address: bigint;
  /** Bytes in memory. */
  readonly size: number;
  readonly searched: boolean;
  /** What is not searched. */
  readonly skip: readonly Stretch[];
  /** It is linked to its address: pointers to it do not change. */
  readonly fixed?: boolean;
}

export interface FoundPointers {
  readonly method: 'comparison' | 'scan';
  /** Offsets in the range, ascending, by index of the segment. */
  readonly slots: ReadonlyMap<number, Float64Array>;
  /** Words that are addresses of something outside of the program, by index of the segment. */
  readonly outward: ReadonlyMap<number, OutwardSlots>;
  /**
   * Words that are such addresses too, of something that did not move between two runs (macOS maps its libraries
   * once at each boot), so that they may be numbers.
   */
  readonly still: ReadonlyMap<number, OutwardSlots>;
  /** Names of what they lead to, by the index of the module. */
  readonly outsideNames: readonly string[];
  readonly counts: {
    readonly pointers: number;
    readonly outward: number;
    /** Taken for pointers, with something against it; of a comparison: by their value alone. */
    readonly doubtful: number;
    /** Of a comparison: differ, and are no pointers. */
    readonly unexplained: number;
  };
  /** One line for each doubtful or unexplained word, up to some hundreds. */
  readonly remarks: readonly string[];
  /** Where it was wanted. */
  readonly map: PointerMap | undefined;
}

export interface PointerSearch {
  readonly ranges: readonly ProgramRange[];
  readonly first: Run;
  readonly second: Run | undefined;
  /** `_table+0x8 (__DATA,__bss)`, for an address without slide. */
  readonly nameOf: (address: bigint) => string;
  /** Whether the map is wanted, too. */
  readonly details?: boolean | undefined;
  /** Addresses of imports where the image has no memory. */
  readonly imports?: readonly bigint[];
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** @throws UnexecError `SAME_ADDRESSES` when two runs did not slide differently */
export function findPointers(search: PointerSearch): FoundPointers {
  return search.second === undefined ? scan(search) : compare(search, search.second);
}

function compare(search: PointerSearch, second: Run): FoundPointers {
  const { first, ranges, nameOf } = search;
  const third = second.again && thirdOf(ranges, first, second.again);
  const outside = pairedOutside(ranges, first, second).filter(
    ({ start1 }) => third?.moduleAt.has(start1) ?? true,
  );
  const comparison = {
    ranges: ranges.map(({ address, ...range }) => ({
      ...range,
      start1: address + first.slide,
      start2: address + second.slide,
    })),
    image: { a: first.image, b: second.image },
    outside,
    ...(search.onProgress === undefined ? {} : { onProgress: search.onProgress }),
  };
  const found: PointerComparison =
    third === undefined
      ? comparePointers(comparison)
      : compareThree(comparison, {
          ...third,
          moduleStarts: outside.map(({ start1 }) => third.moduleAt.get(start1) ?? start1),
        });
  // A program that does not do the same twice (a table that is hashed by addresses and the time) has words that
  // no comparison explains. Those that lead into the program in the first run are pointers, as far as a value tells.
  const byValue = found.ranges.map(({ range, unexplained }) =>
    wordsInto(first.image.memory, range.start1, unexplained, ranges, first.slide),
  );
  const guessed = byValue.reduce((sum, { length }) => sum + length, 0);
  const { counts } = found;
  const leaving = found.unexplained.map(word => ({ word, slot: slotOutside(word, outside) }));
  const left = leaving.filter(({ slot }) => slot !== undefined).length;
  const nameOfRun = (address: bigint): string => nameOf(address - first.slide);
  const unexplained = leaving.flatMap(({ word, slot }) => (slot === undefined ? [word] : []));
  return {
    method: 'comparison',
    slots: byIndex(ranges, found.ranges, ({ slots }, i) =>
      mergeOffsets(slots, byValue[i] ?? new Float64Array()),
    ),
    outward: byIndex(ranges, found.ranges, ({ range, outward }) =>
      withSlots(
        outward,
        leaving.flatMap(({ word, slot }) => (word.range === range && slot !== undefined ? [slot] : [])),
      ),
    ),
    still: byIndex(ranges, found.ranges, ({ still }) => still),
    outsideNames: outside.map(({ name }) => name),
    counts: {
      pointers: counts.pointers + guessed,
      outward: counts.outward + left,
      doubtful: guessed,
      unexplained: counts.unexplained - left - guessed,
    },
    map:
      search.details === true ? pointerMap(found.ranges, outside, first.image.memory, nameOfRun) : undefined,
    remarks: [
      ...tellUnexplained({
        words: unexplained,
        comparison: found,
        outside,
        first,
        second,
        nameOf: nameOfRun,
      }),
      ...found.biased.map(({ range, offset, value1, value2 }) => {
        const place = nameOfRun(range.start1 + BigInt(offset));
        const values = `${hex(value1)} in one run, ${hex(value2)} in the other`;
        return `${place}: leads outside, but moves with the program: ${values}`;
      }),
    ],
  };
}

/** A third run, and where it has what the first one has outside. */
function thirdOf(ranges: readonly ProgramRange[], first: Run, { image, slide }: Run) {
  const outside = pairedOutside(ranges, first, { image, slide });
  return {
    image,
    rangeStarts: ranges.map(({ address }) => address + slide),
    moduleAt: new Map(outside.map(({ start1, start2 }) => [start1, start2])),
  };
}

function scan(search: PointerSearch): FoundPointers {
  const { first, ranges, nameOf } = search;
  const imports = (search.imports ?? []).map(start => ({ name: 'a library', start, size: 1 }));
  const outside = [...outsideOf(ranges, first), ...imports];
  const found = scanPointers({
    ranges: ranges.map(({ address, ...range }) => ({ ...range, start: address + first.slide })),
    image: first.image,
    outside,
    ...(search.onProgress === undefined ? {} : { onProgress: search.onProgress }),
  });
  // What does not move keeps its pointers as they are; those that lead out of it do not.
  const isFixed = ranges.every(({ fixed }) => fixed === true);
  const counts = isFixed ? { ...found.counts, pointers: 0, doubtful: 0 } : found.counts;
  const doubtful = isFixed ? [] : found.doubtful;
  return {
    method: 'scan',
    slots: isFixed ? new Map() : byIndex(ranges, found.ranges, ({ slots }) => slots),
    outward: byIndex(ranges, found.ranges, ({ outward }) => outward),
    still: new Map(),
    outsideNames: outside.map(({ name }) => name),
    counts: {
      pointers: counts.pointers,
      outward: counts.outward,
      doubtful: counts.doubtful,
      unexplained: 0,
    },
    map: search.details === true ? mapOf(found, outside, search) : undefined,
    remarks: doubtful.map(({ range, offset, value, into, why, taken }) => {
      const place = nameOf(range.start - first.slide + BigInt(offset));
      return `${place}: ${hex(value)} into ${into}: ${why}${taken ? '' : '; not taken for a pointer'}`;
    }),
  };
}

function mapOf(
  { ranges }: PointerScan,
  outside: readonly NamedMapping[],
  { first, nameOf }: PointerSearch,
): PointerMap {
  const found = ranges.map(({ range, ...rest }) => ({ range: { ...range, start1: range.start }, ...rest }));
  return pointerMap(found, outside, first.image.memory, address => nameOf(address - first.slide));
}

function byIndex<Range, T>(
  ranges: readonly ProgramRange[],
  found: readonly Range[],
  part: (range: Range, i: number) => T,
): Map<number, T> {
  return new Map(
    ranges.flatMap(({ index, searched }, i) => {
      const range = found[i];
      return searched && range !== undefined ? [[index, part(range, i)] as const] : [];
    }),
  );
}
