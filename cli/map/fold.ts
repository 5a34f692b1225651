/**
 * Where the lines of a view are on a picture: in columns, as tall as there is room; and where even that is not enough,
 * several pages a line.
 *
 * @module
 */
import type { MapData } from './map-data.ts';
import { linesOf, type Order, stretchesOf, type View, viewOf } from './view.ts';

/** Room for the columns, in pixels. */
export interface Room {
  readonly width: number;
  readonly height: number;
}

export interface Fold {
  readonly view: View;
  readonly pagesPerLine: number;
  readonly lineHeight: number;
  readonly lineWidth: number;
  readonly linesPerColumn: number;
  readonly columns: number;
}

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Between columns, in pixels. */
export const COLUMN_GAP = 12;
/** The narrowest column: its offset is written above it. */
const LEAST_WIDTH = 64;
const MOST_WIDTH = 512;
const LINE_HEIGHTS = [12, 8, 6, 4, 3, 2, 1] as const;

/** The tallest lines that fit, of one page each if that is possible. */
export function foldOf(data: MapData, order: Order, room: Room): Fold {
  const stretches = stretchesOf(data, order);
  for (let pagesPerLine = 1; ; pagesPerLine *= 2) {
    for (const lineHeight of LINE_HEIGHTS) {
      const signs = { hole: Math.ceil(6 / lineHeight), elided: Math.ceil(16 / lineHeight) };
      const lines = linesOf(stretches, pagesPerLine, signs);
      const linesPerColumn = Math.max(1, Math.floor(room.height / lineHeight));
      const columns = Math.ceil(lines / linesPerColumn);
      const lineWidth = Math.min(MOST_WIDTH, Math.floor((room.width + COLUMN_GAP) / columns) - COLUMN_GAP);
      // Beyond a terabyte a line nothing gets shorter: then there are just that many holes.
      const isLast = pagesPerLine >= 2 ** 28 && lineHeight === 1;
      if (lineWidth < LEAST_WIDTH && !isLast) continue;
      return {
        view: viewOf(data, order, stretches, pagesPerLine, signs),
        pagesPerLine,
        lineHeight,
        lineWidth: Math.max(lineWidth, LEAST_WIDTH),
        linesPerColumn: Math.min(linesPerColumn, lines),
        columns,
      };
    }
  }
}

/** Pixels that the columns take. */
export const sizeOf = ({ columns, lineWidth, linesPerColumn, lineHeight }: Fold): Room => ({
  width: columns * (lineWidth + COLUMN_GAP) - COLUMN_GAP,
  height: linesPerColumn * lineHeight,
});

/** The rectangles that [start, end) of the row takes: at most three a column. */
export function* rectsOf(fold: Fold, start: number, end: number): Generator<Rect> {
  const { lineHeight, lineWidth, linesPerColumn } = fold;
  const { bytesPerLine } = fold.view;
  let at = start;
  while (at < end) {
    const line = Math.floor(at / bytesPerLine);
    const column = Math.floor(line / linesPerColumn);
    const lineStart = line * bytesPerLine;
    const columnEnd = (column + 1) * linesPerColumn * bytesPerLine;
    const isWhole = at === lineStart && end - at >= bytesPerLine;
    const stop = isWhole
      ? Math.min(columnEnd, Math.floor(end / bytesPerLine) * bytesPerLine)
      : Math.min(end, lineStart + bytesPerLine);
    const lines = isWhole ? (stop - at) / bytesPerLine : 1;
    const scale = lineWidth / bytesPerLine;
    yield {
      x: column * (lineWidth + COLUMN_GAP) + (at - lineStart) * scale,
      y: (line - column * linesPerColumn) * lineHeight,
      width: isWhole ? lineWidth : (stop - at) * scale,
      height: lines * lineHeight,
    };
    at = stop;
  }
}

/** The place in the row that is drawn at a point; undefined between columns and outside. */
export function placeAt(fold: Fold, x: number, y: number): number | undefined {
  const { lineHeight, lineWidth, linesPerColumn, columns, view } = fold;
  const column = Math.floor(x / (lineWidth + COLUMN_GAP));
  const into = x - column * (lineWidth + COLUMN_GAP);
  const line = Math.floor(y / lineHeight);
  if (column < 0 || column >= columns || into >= lineWidth || line < 0 || line >= linesPerColumn)
    return undefined;
  return (column * linesPerColumn + line) * view.bytesPerLine + (into / lineWidth) * view.bytesPerLine;
}

/** `1 line = 1 page of 4 KiB`. */
export const scaleText = ({ pagesPerLine }: Fold): string =>
  pagesPerLine === 1 ? '1 line = 1 page of 4 KiB' : `1 line = ${pagesPerLine} pages of 4 KiB`;
