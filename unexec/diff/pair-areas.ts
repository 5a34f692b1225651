/**
 * Which area of one is which area of the other. Two that have the same address space (an image, and the process that it
 * became) are held side by side as they lie: a resumed process has other mappings, with the name of its image. Otherwise
 * addresses are random, and names are not unique (a process has hundreds of anonymous mappings), so areas are paired in
 * rounds, the surest first, each in the order of addresses.
 *
 * @module
 */
import { endOf } from '../image.ts';
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

/**
 * Pairs by the address in `a`, then what only `b` has.
 *
 * `named`: whose names and kinds count where both are held side by side.
 */
export function pairAreas(a: readonly Area[], b: readonly Area[], named: 'a' | 'b'): AreaPair[] {
  if (!isSameSpace(a, b)) return pairByName(a, b);
  const [cutA, cutB] = [cutAlike(a, b), cutAlike(b, a)];
  const partners = new Map(cutB.map(area => [area.start, area]));
  const both = cutA.flatMap(area => {
    const partner = partners.get(area.start);
    if (partner === undefined) return [];
    const { name, kind } = named === 'a' ? area : partner;
    return [{ a: { ...area, name, kind }, b: { ...partner, name, kind } }];
  });
  const paired = new Set(both.map(pair => pair.a.start));
  const left = (areas: readonly Area[]): Area[] => areas.filter(({ start }) => !paired.has(start));
  return [...both, ...pairByName(left(cutA), left(cutB))];
}

/** The end of the stack is random: who has it in common has the rest, too. */
function isSameSpace(a: readonly Area[], b: readonly Area[]): boolean {
  const ends = [a, b]
    .map(areas => areas.findLast(({ kind }) => kind === 'stack'))
    .map(area => area && endOf(area));
  return ends[0] !== undefined && ends[0] === ends[1];
}

/** Cut wherever an area of the others begins or ends, so that pieces of both are the same or apart. */
function cutAlike(areas: readonly Area[], others: readonly Area[]): Area[] {
  const edges = others.flatMap(other => [other.start, endOf(other)]);
  let first = 0;
  return areas.flatMap(area => {
    const pieces: Area[] = [];
    let at = area.start;
    const end = endOf(area);
    for (let edge = edges[first]; edge !== undefined && edge < end; edge = edges[++first]) {
      if (edge <= at) continue;
      pieces.push({ ...area, start: at, size: Number(edge - at) });
      at = edge;
    }
    return [...pieces, { ...area, start: at, size: Number(end - at) }];
  });
}

function pairByName(a: readonly Area[], b: readonly Area[]): AreaPair[] {
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
