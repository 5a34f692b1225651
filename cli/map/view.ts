/**
 * The map as one long row of bytes, in the order of the file or of memory. A line is so many pages of it. Memory has
 * holes: each stretch of it begins on a line of its own, and long stretches of zeros take a few lines only.
 *
 * @module
 */
import { PAGE_SIZE, type PartKind } from '../../formats/describe/index.ts';
import type { MapData } from './map-data.ts';

export type Order = 'file' | 'memory';

/** Something drawn: [start, end) in the row. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly kind: PartKind;
  /** Has a colour of its own. */
  readonly name: string;
  /**
   * - `bytes`: in the file
   * - `zero`: pages of the file that are zero
   * - `fill`: memory that is zero without bytes in the file
   * - `absent`: memory whose bytes are not in this file
   */
  readonly state: 'bytes' | 'zero' | 'fill' | 'absent';
  /** Index of what it is a piece of: in `parts` of the file, or in `memory` of the image. */
  readonly part: number;
}

/** A stretch without holes. */
export interface Strip {
  /** Where in the row. */
  readonly start: number;
  readonly end: number;
  readonly image: number;
  /** File offset or address of its first byte. */
  readonly position: bigint;
  /** Bytes: more than the row has of it, where it is `elided`. */
  readonly size: number;
  /** Zeros of which only a sign is drawn. */
  readonly isElided: boolean;
}

export interface View {
  readonly order: Order;
  readonly bytesPerLine: number;
  readonly strips: readonly Strip[];
  readonly pieces: readonly Piece[];
  /** Lines, the empty ones between strips included. */
  readonly lines: number;
}

/** How many lines things take that are only signs. */
export interface Signs {
  /** Of a hole in memory. */
  readonly hole: number;
  /** Of elided zeros. */
  readonly elided: number;
}

/** Zeros of more pages than this are elided, in memory. */
export const ELIDED_FROM = 64;

/** Something that has a place in the file or in memory. */
interface Source {
  readonly position: bigint;
  readonly size: number;
  readonly kind: PartKind;
  readonly name: string;
  readonly state: Piece['state'];
  /** In the file. */
  readonly offset: number | undefined;
  readonly part: number;
  readonly image: number;
}

/** A stretch of pages, before it has a place. */
export interface Stretch {
  readonly position: bigint;
  readonly end: bigint;
  readonly image: number;
  readonly isElided: boolean;
  readonly sources: readonly Source[];
}

/** How many lines stretches take. */
export function linesOf(stretches: readonly Stretch[], pagesPerLine: number, signs: Signs): number {
  let lines = 0;
  for (const [i, stretch] of stretches.entries()) {
    lines += holeBefore(stretch, stretches[i - 1], signs) + ownLines(stretch, pagesPerLine, signs);
  }
  return Math.max(1, lines);
}

export function viewOf(
  data: MapData,
  order: Order,
  stretches: readonly Stretch[],
  pagesPerLine: number,
  signs: Signs,
): View {
  const bytesPerLine = pagesPerLine * PAGE_SIZE;
  const strips: Strip[] = [];
  const pieces: Piece[] = [];
  let line = 0;
  for (const [i, stretch] of stretches.entries()) {
    const { position, end, image, isElided, sources } = stretch;
    line += holeBefore(stretch, stretches[i - 1], signs);
    const size = Number(end - position);
    const start = line * bytesPerLine;
    const lines = ownLines(stretch, pagesPerLine, signs);
    line += lines;
    const drawn = isElided ? lines * bytesPerLine : size;
    strips.push({ start, end: start + drawn, image, position, size, isElided });
    for (const source of sources) {
      const at = isElided ? start : start + Number(source.position - position);
      const length = isElided ? drawn : source.size;
      addPieces(pieces, source, at, at + length, isElided ? [] : data.zeroPages);
    }
  }
  return { order, bytesPerLine, strips, pieces, lines: Math.max(1, line) };
}

/** Lines that are left empty where there is nothing in memory. */
const holeBefore = (stretch: Stretch, before: Stretch | undefined, { hole }: Signs): number =>
  before === undefined || (before.image === stretch.image && before.end === stretch.position) ? 0 : hole;

const ownLines = ({ isElided, position, end }: Stretch, pagesPerLine: number, { elided }: Signs): number =>
  isElided ? elided : Math.ceil(Number(end - position) / (pagesPerLine * PAGE_SIZE));

/** Where a position of the file or an address is in the row; the middle of what is elided. */
export function placeOf({ strips }: View, position: bigint, image?: number): number | undefined {
  for (const strip of strips) {
    if (image !== undefined && strip.image !== image) continue;
    const into = position - strip.position;
    if (into < 0n || into >= BigInt(strip.size)) continue;
    return strip.isElided ? strip.start : strip.start + Number(into);
  }
  return undefined;
}

/** What is at a place of the row. */
export function positionAt(
  { strips }: View,
  place: number,
): { readonly strip: Strip; readonly position: bigint } | undefined {
  const strip = last(strips, ({ start }) => start <= place);
  if (strip === undefined || place >= strip.end) return undefined;
  return {
    strip,
    position: strip.position + (strip.isElided ? 0n : BigInt(Math.floor(place - strip.start))),
  };
}

/** The piece at a place of the row. */
export function pieceAt({ pieces }: View, place: number): Piece | undefined {
  const piece = last(pieces, ({ start }) => start <= place);
  return piece !== undefined && place < piece.end ? piece : undefined;
}

/** The last one of an ascending list for which this holds; it holds for all before it, too. */
export function last<T>(list: readonly T[], holds: (item: T) => boolean): T | undefined {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = list[middle];
    if (item !== undefined && holds(item)) low = middle + 1;
    else high = middle;
  }
  return list[low - 1];
}

/** What is without holes; one stretch in the order of the file. */
export function stretchesOf(data: MapData, order: Order): Stretch[] {
  if (order === 'file') {
    const sources = data.parts.map(
      (part, index): Source => ({
        position: BigInt(part.offset),
        size: part.size,
        kind: part.kind,
        name: part.name,
        state: 'bytes',
        offset: part.offset,
        part: index,
        image: part.image ?? 0,
      }),
    );
    return [{ position: 0n, end: BigInt(data.size), image: 0, isElided: false, sources }];
  }
  return data.images.flatMap((image, i) =>
    joined(
      image.memory.map(({ address, size, kind, name, backing, offset }, part): Source => {
        const state = backing === 'file' ? 'bytes' : backing === 'zero' ? 'fill' : 'absent';
        return { position: address, size, kind, name, state, offset, part, image: i };
      }),
    ),
  );
}

const MASK = ~BigInt(PAGE_SIZE - 1);
const pageOf = (address: bigint): bigint => address & MASK;
const pageBehind = (address: bigint): bigint => (address + BigInt(PAGE_SIZE - 1)) & MASK;

/** Stretches of whole pages; what is nothing but zeros for long has one of its own. */
function joined(sources: readonly Source[]): Stretch[] {
  const stretches: (Stretch & { sources: Source[] })[] = [];
  for (const source of sources) {
    for (const { isElided, ...piece } of split(source)) {
      const start = isElided ? piece.position : pageOf(piece.position);
      const end = isElided
        ? piece.position + BigInt(piece.size)
        : pageBehind(piece.position + BigInt(piece.size));
      const before = stretches.at(-1);
      if (before && !before.isElided && !isElided && before.image === piece.image && start <= before.end) {
        before.sources.push(piece);
        stretches[stretches.length - 1] = { ...before, end: end > before.end ? end : before.end };
      } else stretches.push({ position: start, end, image: piece.image, isElided, sources: [piece] });
    }
  }
  return stretches;
}

/** Zeros with their first and last page apart, which something else may begin or end in. */
function split(source: Source): (Source & { readonly isElided: boolean })[] {
  const { position, size, state } = source;
  const from = pageBehind(position);
  const to = pageOf(position + BigInt(size));
  if (state === 'bytes' || to - from <= BigInt(ELIDED_FROM * PAGE_SIZE))
    return [{ ...source, isElided: false }];
  return [
    { ...source, size: Number(from - position), isElided: false },
    { ...source, position: from, size: Number(to - from), isElided: true },
    { ...source, position: to, size: Number(position + BigInt(size) - to), isElided: false },
  ].filter(piece => piece.size > 0);
}

/** Cuts a source where zero pages of the file begin and end. `zeroPages` as in `MapData`. */
function addPieces(
  pieces: Piece[],
  source: Source,
  start: number,
  end: number,
  zeroPages: readonly number[],
): void {
  const { kind, name, state, part, offset } = source;
  const piece = (from: number, to: number, state: Piece['state']): void => {
    if (to > from) pieces.push({ start: from, end: to, kind, name, state, part });
  };
  if (state !== 'bytes' || offset === undefined || kind === 'gap' || kind === 'header') {
    piece(start, end, state);
    return;
  }
  const shift = start - offset;
  let at = start;
  for (let i = firstRunBehind(zeroPages, offset); i < zeroPages.length; i += 2) {
    const from = Math.max(start, (zeroPages[i] ?? 0) * PAGE_SIZE + shift);
    const to = Math.min(end, (zeroPages[i + 1] ?? 0) * PAGE_SIZE + shift);
    if (from >= end) break;
    piece(at, from, 'bytes');
    piece(from, to, 'zero');
    at = to;
  }
  piece(at, end, 'bytes');
}

/** Index of the first run that ends behind an offset. */
function firstRunBehind(runs: readonly number[], offset: number): number {
  let low = 0;
  let high = runs.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[2 * middle + 1] ?? 0) * PAGE_SIZE <= offset) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}
