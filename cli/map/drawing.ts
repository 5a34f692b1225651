/**
 * What is drawn of a fold, for SVG and for a canvas alike: shapes, each with a colour and a pattern, and what is
 * written at columns.
 *
 * @module
 */
import { colourOf, HEADER_COLOUR } from './colours.ts';
import { COLUMN_GAP, type Fold, type Rect, rectsOf } from './fold.ts';
import { type Piece, positionAt } from './view.ts';

/**
 * - `solid`: bytes
 * - `header`: headers, in grey
 * - `zero`: pages of the file that are zero
 * - `fill`: memory that is zero without bytes in the file
 * - `absent`: memory that is not in this file
 * - `gap`: in nothing
 */
export type Pattern = 'solid' | 'header' | 'zero' | 'fill' | 'absent' | 'gap';

export interface Shape {
  readonly name: string;
  /** `#rrggbb`. */
  readonly colour: string;
  readonly pattern: Pattern;
  readonly rects: readonly Rect[];
}

/** Everything of one name and one pattern is one shape. */
export function shapesOf(fold: Fold): Shape[] {
  const shapes = new Map<string, Shape & { rects: Rect[] }>();
  for (const piece of fold.view.pieces) {
    const pattern = patternOf(piece);
    const key = `${pattern} ${piece.name}`;
    let shape = shapes.get(key);
    if (shape === undefined) {
      shape = { name: piece.name, colour: colourOfPiece(piece), pattern, rects: [] };
      shapes.set(key, shape);
    }
    for (const rect of rectsOf(fold, piece.start, piece.end)) shape.rects.push(rect);
  }
  return [...shapes.values()];
}

export const colourOfPiece = ({ kind, name }: Pick<Piece, 'kind' | 'name'>): string =>
  kind === 'header' || kind === 'gap' ? HEADER_COLOUR : colourOf(name);

export function patternOf({ kind, state }: Pick<Piece, 'kind' | 'state'>): Pattern {
  if (state !== 'bytes') return state;
  return kind === 'header' || kind === 'gap' ? kind : 'solid';
}

/** What patterns mean, for legends. */
export const PATTERN_MEANINGS: Readonly<Record<Exclude<Pattern, 'solid'>, string>> = {
  header: 'headers',
  zero: 'zero pages',
  fill: 'zeros, no bytes in the file',
  absent: 'not in this file',
  gap: 'gap: in no section',
};

/** Those that are not just a colour. */
export type Marked = Exclude<Pattern, 'solid' | 'header'>;

export const isPlain = (pattern: Pattern): pattern is 'solid' | 'header' =>
  pattern === 'solid' || pattern === 'header';

/** Marks on a tile of 6 by 6; how much of the colour is under them. */
export const TILES: Readonly<Record<Marked, { marks: string; under: number }>> = {
  zero: { marks: 'M-1 1 1 -1M0 6 6 0M5 7 7 5', under: 0.3 },
  fill: { marks: 'M2 3h2M3 2v2', under: 0.2 },
  absent: { marks: 'M0 0 6 6M0 6 6 0', under: 0 },
  gap: { marks: 'M0 3h6', under: 0 },
};
export const TILE_SIZE = 6;

/** Where a column begins. */
export interface ColumnLabel {
  readonly x: number;
  /** File offset or address. */
  readonly text: string;
}

export const columnLabels = (fold: Fold): ColumnLabel[] =>
  Array.from({ length: fold.columns }, (_, column) => {
    const start = column * fold.linesPerColumn * fold.view.bytesPerLine;
    // A column may begin with a hole.
    const strip = fold.view.strips.find(({ end }) => end > start);
    const place = strip === undefined ? start : Math.max(start, strip.start);
    const position = positionAt(fold.view, place)?.position ?? 0n;
    return { x: column * (fold.lineWidth + COLUMN_GAP), text: `0x${position.toString(16)}` };
  });
