/**
 * The page map in letters, for a terminal: a line a page, or several, and the legend. Within 100 columns.
 *
 * @module
 */
import { formatBytes, printable, table } from '../render.ts';
import { patternOf } from './drawing.ts';
import { type LegendRow, legendOf } from './legend.ts';
import { describeKind, type MapData } from './map-data.ts';
import { linesOf, type Order, type Piece, positionAt, stretchesOf, type View, viewOf } from './view.ts';

/** Characters of a line; the address before it takes up to 20. */
const WIDTH = 64;
/** A file of more pages has several a line. */
const MOST_LINES = 64;
const SIGNS = { hole: 1, elided: 1 };

/** Letters of the legend, the largest first. What has none left is `?`. */
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

export function textOf(data: MapData, order: Order): string[] {
  const stretches = stretchesOf(data, order);
  let pagesPerLine = 1;
  while (linesOf(stretches, pagesPerLine, SIGNS) > MOST_LINES && pagesPerLine < 2 ** 40) pagesPerLine *= 2;
  const view = viewOf(data, order, stretches, pagesPerLine, SIGNS);
  const rows = legendOf(data, order);
  const letters = lettersOf(rows);
  const pages = pagesPerLine === 1 ? '1 page of 4 KiB' : `${pagesPerLine} pages of 4 KiB`;
  return [
    `${printable(data.name)}: ${describeKind(data)}, ${formatBytes(data.size)}`,
    `in ${order} order; 1 line = ${pages}`,
    '',
    ...mapLines(view, letters),
    '',
    ...table(
      [
        ['', 'name', 'size', 'zero or absent', 'parts'],
        ...shorter(rows).map(row => legendLine(row, letters)),
      ],
      ['left', 'left', 'right', 'right', 'right'],
    ),
    '',
    "'#' headers, '-' in nothing, '.' zero pages,",
    "':' zeros without bytes in the file, '~' not in this file",
  ];
}

function lettersOf(rows: readonly LegendRow[]): ReadonlyMap<string, string> {
  const letters = new Map<string, string>();
  for (const { name, kind } of rows) {
    if (kind === 'gap' || kind === 'header' || letters.has(name)) continue;
    letters.set(name, LETTERS[letters.size] ?? '?');
  }
  return letters;
}

/** An object file can have 60,000 sections: those without a letter are one row. */
function shorter(rows: readonly LegendRow[]): LegendRow[] {
  const shown = rows.slice(0, LETTERS.length);
  const rest = rows.slice(LETTERS.length);
  if (rest.length < 2) return [...rows];
  const sum = (of: (row: LegendRow) => number): number => rest.reduce((total, row) => total + of(row), 0);
  const other = {
    name: `${rest.length} others`,
    kind: 'section',
    bytes: sum(({ bytes }) => bytes),
    zero: sum(({ zero }) => zero),
    fill: sum(({ fill }) => fill),
    count: sum(({ count }) => count),
    part: 0,
  } as const;
  return [...shown, other];
}

const legendLine = (
  { name, kind, bytes, zero, fill, count }: LegendRow,
  letters: ReadonlyMap<string, string>,
) => [
  kind === 'gap' ? '-' : kind === 'header' ? '#' : (letters.get(name) ?? '?'),
  cut(printable(name)),
  formatBytes(bytes),
  zero + fill > 0 ? formatBytes(zero + fill) : '',
  `${count}`,
];

const cut = (text: string): string => (text.length > 56 ? `${text.slice(0, 27)}…${text.slice(-28)}` : text);

function mapLines(view: View, letters: ReadonlyMap<string, string>): string[] {
  const lines: string[] = [];
  const cell = view.bytesPerLine / WIDTH;
  let first = 0;
  for (let line = 0; line < view.lines; line++) {
    const start = line * view.bytesPerLine;
    while ((view.pieces[first]?.end ?? Number.POSITIVE_INFINITY) <= start) first++;
    const at = positionAt(view, start);
    if (at === undefined) {
      lines.push('');
      continue;
    }
    const { strip, position } = at;
    const label = `0x${position.toString(16)}`.padStart(view.order === 'file' ? 10 : 18);
    if (strip.isElided) {
      const piece = view.pieces[first];
      const mark = piece?.state === 'absent' ? MARKS.absent : MARKS.fill;
      lines.push(
        `${label}  ${mark.repeat(3)} ${formatBytes(strip.size)} of ${cut(printable(piece?.name ?? ''))}`,
      );
      continue;
    }
    let text = '';
    for (let i = 0; i < WIDTH; i++)
      text += characterAt(view, first, start + i * cell, start + (i + 1) * cell, letters);
    lines.push(`${label}  ${text.trimEnd()}`);
  }
  return lines;
}

/** Of what most of a cell is. */
function characterAt(
  { pieces }: View,
  first: number,
  start: number,
  end: number,
  letters: ReadonlyMap<string, string>,
): string {
  let best: Piece | undefined;
  let most = 0;
  for (let i = first; i < pieces.length; i++) {
    const piece = pieces[i];
    if (piece === undefined || piece.start >= end) break;
    const size = Math.min(piece.end, end) - Math.max(piece.start, start);
    if (size <= most) continue;
    most = size;
    best = piece;
  }
  if (best === undefined) return ' ';
  const pattern = patternOf(best);
  return pattern === 'solid' ? (letters.get(best.name) ?? '?') : MARKS[pattern];
}

const MARKS = { header: '#', gap: '-', zero: '.', fill: ':', absent: '~' } as const;
