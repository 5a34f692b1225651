/**
 * A third run settles what two explain by coincidence: a counter that differs by just as much as the image
 * moved, a number that happens to be the same twice. A word keeps its explanation only if runs one and two and
 * runs one and three give the same; all others are unexplained, with three values.
 *
 * It can also tell what two runs could not: a word that is equal in both, and an address of a module that did
 * not move between them, is a pointer if it moved with the module to the third run, and else a number.
 *
 * @module
 */
import type { MemoryImage } from '../image.ts';
import { type Comparison, comparePointers, type PointerComparison, type RangeComparison } from './compare.ts';
import { sumOf } from './found.ts';
import type { OutwardSlots } from './outward-list.ts';
import type { PairedRange } from './ranges.ts';

export interface ThirdRun {
  readonly image: Pick<MemoryImage, 'regions' | 'memory'>;
  /** Address in the third run of each range, and of each module, in the order of the comparison's. */
  readonly rangeStarts: readonly bigint[];
  readonly moduleStarts: readonly bigint[];
}

/** A word for which the third run has another explanation than the second. */
export interface ContradictedWord {
  readonly range: PairedRange;
  readonly offset: number;
  readonly values: readonly [bigint, bigint, bigint];
  /** What runs one and two took it for. */
  readonly was: 'pointer' | 'outward' | 'constant';
}

export interface SettledComparison extends PointerComparison {
  /** Those that two runs had explained, up to the listed number; they are among the unexplained. */
  readonly contradicted: readonly ContradictedWord[];
  /** All of them. */
  readonly contradictions: number;
}

/**
 * Compares runs one and two, then one and three, and keeps what both agree on.
 *
 * @throws UnexecError as `comparePointers`: each run has to have its own addresses
 */
export function compareThree(comparison: Comparison, third: ThirdRun): SettledComparison {
  const first = comparePointers(comparison);
  const again = comparePointers({
    ...comparison,
    ranges: comparison.ranges.map((range, i) => ({ ...range, start2: third.rangeStarts[i] ?? range.start2 })),
    outside: comparison.outside.map((module, i) => ({
      ...module,
      start2: third.moduleStarts[i] ?? module.start2,
    })),
    image: { a: comparison.image.a, b: third.image },
  });
  const settling = new Settling(comparison, third);
  const ranges = first.ranges.map((range, i) => {
    const other = again.ranges[i];
    return other === undefined ? range : settling.settle(range, other, third.rangeStarts[i] ?? 0n);
  });
  // A word that is equal in the first two runs is listed with the value that differs.
  const contradicted = settling.contradicted.map(({ range, offset, values: [value1, value2, value3] }) => ({
    range,
    offset,
    value1,
    value2: value2 === value1 ? value3 : value2,
    into: undefined,
  }));
  return {
    ranges,
    counts: sumOf(ranges.map(({ counts }) => counts)),
    unexplained: [...first.unexplained, ...contradicted],
    biased: first.biased,
    contradicted: settling.contradicted,
    contradictions: settling.contradictions,
  };
}

class Settling {
  readonly contradicted: ContradictedWord[] = [];
  contradictions = 0;
  readonly #comparison: Comparison;
  readonly #third: ThirdRun;
  readonly #limit: number;

  constructor(comparison: Comparison, third: ThirdRun) {
    this.#comparison = comparison;
    this.#third = third;
    this.#limit = comparison.listed ?? 1000;
  }

  settle(first: RangeComparison, again: RangeComparison, start3: bigint): RangeComparison {
    const { range } = first;
    const slots = intersection(first.slots, again.slots);
    const lost = new Set<number>();
    const lose = (offset: number, was: ContradictedWord['was']): void => {
      if (lost.has(offset)) return;
      lost.add(offset);
      this.#tell(range, offset, start3, was);
    };
    for (const offset of difference(first.slots, slots)) lose(offset, 'pointer');
    const outward = this.#outward(first, again);
    for (const offset of difference(first.outward.offsets, outward.offsets)) lose(offset, 'outward');
    // What only the third run shows to differ was equal in the first two, unless it is unexplained in them.
    const explained = new Set(first.unexplained);
    const constant = (offset: number): void => {
      if (!explained.has(offset)) lose(offset, 'constant');
    };
    for (const offset of difference(again.slots, slots)) constant(offset);
    for (const offset of difference(again.outward.offsets, outward.offsets)) constant(offset);
    for (const offset of again.unexplained) constant(offset);
    const unexplained = Float64Array.from(new Set([...first.unexplained, ...lost])).sort();
    const still = pick(first.still, first.still.offsets, new Set(again.still.offsets));
    return {
      range,
      slots,
      outward,
      still,
      unexplained,
      counts: {
        ...first.counts,
        pointers: slots.length,
        unaligned: slots.reduce(
          (sum, offset) => sum + Number((range.start1 + BigInt(offset)) % 8n !== 0n),
          0,
        ),
        tagged: Math.min(first.counts.tagged, again.counts.tagged),
        biased: Math.min(first.counts.biased, again.counts.biased),
        outward: outward.offsets.length,
        still: still.offsets.length,
        unexplained: unexplained.length,
      },
    };
  }

  /** Outward in both, or in one of them while its module stood still in the other. */
  #outward(first: RangeComparison, again: RangeComparison): OutwardSlots {
    const keyed = (...lists: readonly OutwardSlots[]) =>
      new Map(
        lists.flatMap(({ offsets, modules, targets }) =>
          Array.from(offsets, (offset, i) => [offset, `${modules[i]} ${targets[i]}`] as const),
        ),
      );
    const inFirst = keyed(first.outward);
    const inAgain = keyed(again.outward);
    const stillInFirst = keyed(first.still);
    const stillInAgain = keyed(again.still);
    const kept = new Set<number>();
    for (const [offset, key] of inFirst) {
      if ((inAgain.get(offset) ?? stillInAgain.get(offset)) === key) kept.add(offset);
    }
    for (const [offset, key] of stillInFirst) if (inAgain.get(offset) === key) kept.add(offset);
    return merge(
      pick(first.outward, first.outward.offsets, kept),
      pick(first.still, first.still.offsets, kept),
    );
  }

  #tell(range: PairedRange, offset: number, start3: bigint, was: ContradictedWord['was']): void {
    this.contradictions++;
    if (this.contradicted.length >= this.#limit) return;
    const { a, b } = this.#comparison.image;
    const at = BigInt(offset);
    const values = [
      wordAt(a, range.start1 + at),
      wordAt(b, range.start2 + at),
      wordAt(this.#third.image, start3 + at),
    ] as const;
    this.contradicted.push({ range, offset, values, was });
  }
}

function wordAt({ memory }: Pick<MemoryImage, 'memory'>, address: bigint): bigint {
  const bytes = new Uint8Array(8);
  memory.read(address, bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

/** Both lists ascend. */
function intersection(a: Float64Array, b: Float64Array): Float64Array {
  const common = new Float64Array(Math.min(a.length, b.length));
  let length = 0;
  for (let i = 0, k = 0; i < a.length && k < b.length; ) {
    const x = a[i] ?? 0;
    const y = b[k] ?? 0;
    if (x === y) common[length++] = x;
    if (x <= y) i++;
    if (y <= x) k++;
  }
  return common.slice(0, length);
}

/** What of `all` is not in `part`; both ascend. */
function* difference(all: Float64Array, part: Float64Array): Generator<number> {
  let k = 0;
  for (const offset of all) {
    while (k < part.length && (part[k] ?? 0) < offset) k++;
    if (part[k] !== offset) yield offset;
  }
}

function pick(list: OutwardSlots, offsets: Float64Array, kept: ReadonlySet<number>): OutwardSlots {
  const indexes = Array.from(offsets, (offset, i) => (kept.has(offset) ? i : -1)).filter(i => i >= 0);
  return {
    offsets: Float64Array.from(indexes, i => list.offsets[i] ?? 0),
    modules: Float64Array.from(indexes, i => list.modules[i] ?? 0),
    targets: Float64Array.from(indexes, i => list.targets[i] ?? 0),
  };
}

function merge(a: OutwardSlots, b: OutwardSlots): OutwardSlots {
  if (b.offsets.length === 0) return a;
  const rows = [a, b].flatMap(({ offsets, modules, targets }) =>
    Array.from(offsets, (offset, i) => ({ offset, module: modules[i] ?? 0, target: targets[i] ?? 0 })),
  );
  rows.sort((x, y) => x.offset - y.offset);
  return {
    offsets: Float64Array.from(rows, ({ offset }) => offset),
    modules: Float64Array.from(rows, ({ module }) => module),
    targets: Float64Array.from(rows, ({ target }) => target),
  };
}
