/**
 * Which area of one is which area of the other. Names are not unique (a process has hundreds of anonymous mappings) and
 * addresses are random, so they are paired in rounds, the surest first, each in the order of addresses.
 *
 * @module
 */
import { type Area, protectionOf } from './side.ts';

export interface AreaPair {
  readonly a: Area | undefined;
  readonly b: Area | undefined;
}

type Key = (area: Area) => string;

const kindAndName: Key = area => `${area.kind}\n${area.name}\n${protectionOf(area)}`;

const ROUNDS: readonly Key[] = [
  area => `${kindAndName(area)}\n${area.start}\n${area.size}`,
  area => `${kindAndName(area)}\n${area.start}`,
  area => `${kindAndName(area)}\n${area.size}`,
  kindAndName,
  // One that changed its protection meanwhile.
  ({ kind, name, size }) => `${kind}\n${name}\n${size}`,
];

/** Pairs by the address in `a`, then what only `b` has. */
export function pairAreas(a: readonly Area[], b: readonly Area[]): AreaPair[] {
  const partners = new Map<Area, Area>();
  const taken = new Set<Area>();
  for (const key of ROUNDS) {
    const open = new Map<string, Area[]>();
    for (const area of b) {
      if (taken.has(area)) continue;
      const list = open.get(key(area));
      if (list === undefined) open.set(key(area), [area]);
      else list.push(area);
    }
    const used = new Map<string, number>();
    for (const area of a) {
      if (partners.has(area)) continue;
      const name = key(area);
      const index = used.get(name) ?? 0;
      const partner = open.get(name)?.[index];
      if (partner === undefined) continue;
      used.set(name, index + 1);
      partners.set(area, partner);
      taken.add(partner);
    }
  }
  return [
    ...a.map(area => ({ a: area, b: partners.get(area) })),
    ...b.filter(area => !taken.has(area)).map(area => ({ a: undefined, b: area })),
  ];
}
