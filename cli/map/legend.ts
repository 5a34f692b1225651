/**
 * The legend: what has which colour, and how much there is of it.
 *
 * @module
 */
import type { PartKind } from '../../formats/describe/index.ts';
import type { MapData } from './map-data.ts';
import { type Order, stretchesOf, viewOf } from './view.ts';

export interface LegendRow {
  readonly name: string;
  readonly kind: PartKind;
  /** In the file, or in memory. */
  readonly bytes: number;
  /** Of these, in pages of the file that are zero. */
  readonly zero: number;
  /** Of these, without bytes in the file. */
  readonly fill: number;
  /** How many there are of this name. */
  readonly count: number;
  /** Index of the first one. */
  readonly part: number;
}

/** One row a name, the largest first; gaps last. */
export function legendOf(data: MapData, order: Order): LegendRow[] {
  const rows = new Map<string, LegendRow & { parts: Set<string> }>();
  const { pieces, strips } = viewOf(data, order, stretchesOf(data, order), 1, { hole: 1, elided: 1 });
  let strip = 0;
  for (const piece of pieces) {
    while ((strips[strip]?.end ?? Number.POSITIVE_INFINITY) <= piece.start) strip++;
    const around = strips[strip];
    const bytes = around?.isElided === true ? around.size : piece.end - piece.start;
    const key = `${piece.kind === 'gap'} ${piece.name}`;
    const row = rows.get(key) ?? { ...piece, bytes: 0, zero: 0, fill: 0, count: 0, parts: new Set() };
    row.parts.add(`${around?.image} ${piece.part}`);
    rows.set(key, {
      name: row.name,
      kind: row.kind,
      part: row.part,
      bytes: row.bytes + bytes,
      zero: row.zero + (piece.state === 'zero' ? bytes : 0),
      fill: row.fill + (piece.state === 'fill' || piece.state === 'absent' ? bytes : 0),
      count: row.parts.size,
      parts: row.parts,
    });
  }
  const isGap = ({ kind }: LegendRow): number => (kind === 'gap' ? 1 : 0);
  return [...rows.values()]
    .map(({ parts: _, ...row }) => row)
    .sort((a, b) => isGap(a) - isGap(b) || b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
}
