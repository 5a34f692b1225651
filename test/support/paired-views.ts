/**
 * Two runs of a program as a comparison takes them: the program's writable memory and the heap as ranges, all
 * else that is mapped as modules. Regions are paired by name and order.
 *
 * @module
 */

import type { Region } from '../../unexec/image.ts';
import { comparePointers, type PairedRange, type PointerComparison } from '../../unexec/pointers.ts';
import type { ZoneView } from '../../unexec/zones.ts';

/** Compares two views of the same program; both must be alive. */
export function compareViews(program: string, first: ZoneView, second: ZoneView): PointerComparison {
  const pairs = pairedRegions(first.regions, second.regions);
  const isOwn = ({ name }: Region, before: Region | undefined): boolean =>
    name === program || name === '[heap]' || (name === '' && before?.name === program);
  const own = pairs.filter(({ a, before }) => isOwn(a, before));
  const others = pairs.filter(pair => !own.includes(pair));
  return comparePointers({
    ranges: own.map(({ a, b }) => rangeOf(a, b)),
    image: { a: first, b: second },
    outside: others.map(({ a, b }) => ({ name: a.name, start1: a.start, start2: b.start, size: a.size })),
  });
}

const rangeOf = (a: Region, b: Region): PairedRange => ({
  name: a.name === '' ? '.bss' : a.name,
  start1: a.start,
  start2: b.start,
  size: Math.min(a.size, b.size),
  searched: a.write,
});

export function pairedRegions(first: readonly Region[], second: readonly Region[]) {
  if (first.length !== second.length) throw new Error('the runs have different numbers of mappings');
  return first.flatMap((a, i) => {
    const b = second[i];
    return b === undefined || a.name !== b.name ? [] : [{ a, b, before: first[i - 1] }];
  });
}
