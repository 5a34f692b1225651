/**
 * Who gets a stretch that several things claim: sections that share bytes, segments around sections. A sweep with a
 * heap, so that a hostile file of 65,000 sections that all overlap costs n log n.
 *
 * @module
 */

/** Something that claims [start, end): file offsets, or addresses. */
export interface Claim<P extends number | bigint, V> {
  readonly start: P;
  readonly end: P;
  /** The lowest wins; among equals the smaller stretch, then the one that comes first. */
  readonly rank: number;
  readonly value: V;
}

/** A stretch, and the claim that got it. */
export interface Owned<P extends number | bigint, V> {
  readonly start: P;
  readonly end: P;
  readonly claim: Claim<P, V>;
}

/** Disjoint stretches, ascending: all that is claimed, each stretch as long as it can be. */
export function cover<P extends number | bigint, V>(claims: readonly Claim<P, V>[]): Owned<P, V>[] {
  const byPreference = claims
    .filter(({ start, end }) => start < end)
    .map((claim, index) => ({ claim, index }))
    .sort((a, b) => prefer(a.claim, b.claim) || a.index - b.index)
    .map(({ claim }) => claim);
  const byStart = byPreference.map((_, i) => i).sort((a, b) => order(at(a).start, at(b).start));
  const bounds = boundsOf(byPreference);
  const open = new Heap();
  const owned: Owned<P, V>[] = [];
  let next = 0;

  for (const [i, start] of bounds.entries()) {
    const end = bounds[i + 1];
    if (end === undefined) break;
    for (; next < byStart.length && at(byStart[next] ?? 0).start <= start; next++)
      open.push(byStart[next] ?? 0);
    // Those that have ended leave when they come to the top: until then they are in nobody's way.
    for (let top = open.top; top !== undefined && at(top).end <= start; top = open.top) open.pop();
    if (open.top === undefined) continue;
    const claim = at(open.top);
    const last = owned.at(-1);
    if (last?.claim === claim && last.end === start) owned[owned.length - 1] = { ...last, end };
    else owned.push({ start, end, claim });
  }
  return owned;

  function at(index: number): Claim<P, V> {
    const claim = byPreference[index];
    if (claim === undefined) throw new RangeError(`no claim ${index}`);
    return claim;
  }
}

/** The one of disjoint, ascending stretches that `position` is in. */
export function stretchAt<P extends number | bigint, S>(
  stretches: readonly S[],
  position: P,
  boundsOf: (stretch: S) => readonly [start: P, end: P],
): S | undefined {
  let low = 0;
  let high = stretches.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const stretch = stretches[middle];
    if (stretch === undefined) return undefined;
    const [start, end] = boundsOf(stretch);
    if (position < start) high = middle - 1;
    else if (position >= end) low = middle + 1;
    else return stretch;
  }
  return undefined;
}

const order = <P extends number | bigint>(a: P, b: P): number => (a < b ? -1 : a > b ? 1 : 0);

function prefer<P extends number | bigint, V>(a: Claim<P, V>, b: Claim<P, V>): number {
  return a.rank - b.rank || order(sizeOf(a), sizeOf(b));
}

const sizeOf = ({ start, end }: Claim<number | bigint, unknown>): number => Number(end) - Number(start);

function boundsOf<P extends number | bigint, V>(claims: readonly Claim<P, V>[]): P[] {
  const sorted = claims.flatMap(({ start, end }) => [start, end]).sort(order);
  return sorted.filter((bound, i) => i === 0 || bound !== sorted[i - 1]);
}

/** A binary heap of numbers, the smallest at the top. */
class Heap {
  readonly #items: number[] = [];

  get top(): number | undefined {
    return this.#items[0];
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] ?? 0;
      if (above <= item) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const item = items.pop();
    if (item === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && (items[child + 1] ?? 0) < (items[child] ?? 0)) child++;
      const below = items[child] ?? 0;
      if (below >= item) break;
      items[at] = below;
      at = child;
    }
    items[at] = item;
  }
}
