/**
 * Stretches of a segment: byte ranges `[start, end)`, kept ascending and disjoint, and what is done with
 * many of them.
 *
 * @module
 */

/** Bytes from the segment's first; `end` is exclusive. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** The same bytes as ascending, disjoint stretches that do not touch. Empty ones are gone. */
export function joinStretches(stretches: readonly Stretch[]): Stretch[] {
  const joined: Stretch[] = [];
  for (const { start, end } of stretches.filter(s => s.end > s.start).sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last === undefined || start > last.end) joined.push({ start, end });
    else if (end > last.end) joined[joined.length - 1] = { start: last.start, end };
  }
  return joined;
}

/** Whether the byte at `offset` is in one of the joined stretches. */
export function isWithin(joined: readonly Stretch[], offset: number): boolean {
  const index = firstEndingAfter(joined, offset);
  const stretch = joined[index];
  return stretch !== undefined && stretch.start <= offset;
}

/** Index of the first of the joined stretches that ends after `offset`; their number if none does. */
export function firstEndingAfter(joined: readonly Stretch[], offset: number): number {
  let low = 0;
  let high = joined.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((joined[middle]?.end ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
