/**
 * What a list of samples says. Times on a shared machine have a long tail upwards: medians are compared,
 * never means.
 *
 * @module
 */

export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  /** By nearest rank: a sample that at least 95 % of the samples do not exceed. */
  readonly p95: number;
}

/** @throws RangeError when there are no samples */
export function summarize(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    count: sorted.length,
    min: at(sorted, 0),
    median: (at(sorted, (sorted.length - 1) >> 1) + at(sorted, sorted.length >> 1)) / 2,
    p95: at(sorted, Math.ceil(sorted.length * 0.95) - 1),
  };
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new RangeError(`no sample ${index} of ${sorted.length}`);
  return value;
}
