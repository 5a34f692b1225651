/**
 * The page map as an SVG, for documents: light and dark as the reader has it, every colour with its name and size in
 * the legend, and the same again as text for those who do not see it.
 *
 * @module
 */
import { formatBytes } from '../format-bytes.ts';
import { DARK, HEADER_COLOUR, LIGHT } from './colours.ts';
import {
  colourOfPiece,
  columnLabels,
  isPlain,
  type Marked,
  PATTERN_MEANINGS,
  type Pattern,
  type Shape,
  shapesOf,
  TILE_SIZE,
  TILES,
} from './drawing.ts';
import { type Fold, foldOf, type Rect, scaleText, sizeOf } from './fold.ts';
import { type LegendRow, legendOf } from './legend.ts';
import { describeKind, type MapData } from './map-data.ts';
import type { Order } from './view.ts';

const MARGIN = 24;
const ROOM = { width: 1152, height: 768 };
const HEADING = 64;
/** Of the labels above columns. */
const LABELS = 18;
const ROW_HEIGHT = 20;
const ROW_WIDTH = 288;
/** More rows than this are one. */
const MOST_ROWS = 48;

export function svgOf(data: MapData, order: Order): string {
  const fold = foldOf(data, order, ROOM);
  const { width: mapWidth, height: mapHeight } = sizeOf(fold);
  const shapes = shapesOf(fold);
  const rows = legendOf(data, order);
  const width = Math.max(mapWidth, 2 * ROW_WIDTH) + 2 * MARGIN;
  const legend = new Legend(rows, shapes, width - 2 * MARGIN);
  const mapTop = MARGIN + HEADING + LABELS;
  const legendTop = mapTop + mapHeight + MARGIN;
  const height = legendTop + legend.height + MARGIN;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="t d">`,
    `<title id="t">Page map of ${escapeXml(data.name)}</title>`,
    `<desc id="d">${escapeXml(descriptionOf(data, order, fold, rows))}</desc>`,
    STYLE,
    patternsOf(shapes),
    `<rect class="page" width="${width}" height="${height}"/>`,
    `<g transform="translate(${MARGIN} ${MARGIN})">`,
    `<text class="title" y="18">${escapeXml(data.name)}</text>`,
    `<text y="38">${escapeXml(`${describeKind(data)}, ${formatBytes(data.size)}`)}</text>`,
    `<text class="muted" y="56">${escapeXml(`${ORDERS[order]}; ${scaleText(fold)}`)}</text>`,
    '</g>',
    `<g transform="translate(${MARGIN} ${mapTop})">`,
    ...columnLabels(fold).map(({ x, text }) => `<text class="label" x="${x}" y="-5">${text}</text>`),
    ...shapes.map(pathOf),
    '</g>',
    `<g transform="translate(${MARGIN} ${legendTop})">`,
    ...legend.lines,
    '</g>',
    '</svg>',
  ].join('\n')}\n`;
}

export const ORDERS: Readonly<Record<Order, string>> = { file: 'in file order', memory: 'in memory order' };

const STYLE = `<style>
.page { fill: ${LIGHT.background} }
text { font: 13px system-ui, sans-serif; fill: ${LIGHT.text} }
.title { font-weight: 600; font-size: 18px }
.muted { fill: ${LIGHT.muted} }
.label { font: 10px ui-monospace, monospace; fill: ${LIGHT.muted} }
.size { fill: ${LIGHT.muted}; text-anchor: end }
@media (prefers-color-scheme: dark) {
.page { fill: ${DARK.background} }
text { fill: ${DARK.text} }
.muted, .label, .size { fill: ${DARK.muted} }
}
</style>`;

/** What a reader who does not see the picture is told. */
function descriptionOf(data: MapData, order: Order, fold: Fold, rows: readonly LegendRow[]): string {
  const largest = rows.slice(0, 12).map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`);
  return `${describeKind(data)}, ${formatBytes(data.size)}, ${ORDERS[order]}; ${scaleText(fold)}. Largest: ${largest.join(', ')}.`;
}

/** A pattern for each shape that is not solid: they have the colour of their name. */
function patternsOf(shapes: readonly Shape[]): string {
  const wanted = new Map<string, string>();
  for (const { colour, pattern } of shapes) {
    if (!isPlain(pattern)) wanted.set(idOf(colour, pattern), patternElement(colour, pattern));
  }
  return `<defs>\n${[...wanted.values()].join('\n')}\n</defs>`;
}

const idOf = (colour: string, pattern: Pattern): string => `${pattern}-${colour.slice(1)}`;

function patternElement(colour: string, pattern: Marked): string {
  const { marks, under } = TILES[pattern];
  return (
    `<pattern id="${idOf(colour, pattern)}" width="${TILE_SIZE}" height="${TILE_SIZE}" patternUnits="userSpaceOnUse">` +
    `<rect width="${TILE_SIZE}" height="${TILE_SIZE}" fill="${colour}" fill-opacity="${under}"/>` +
    `<path d="${marks}" stroke="${colour}" fill="none"/></pattern>`
  );
}

const fillOf = (colour: string, pattern: Pattern): string =>
  isPlain(pattern) ? colour : `url(#${idOf(colour, pattern)})`;

function pathOf({ name, colour, pattern, rects }: Shape): string {
  const meaning = pattern === 'solid' || pattern === 'header' ? '' : ` (${PATTERN_MEANINGS[pattern]})`;
  const d = rects.map(rectPath).join('');
  return `<path fill="${fillOf(colour, pattern)}" d="${d}"><title>${escapeXml(name + meaning)}</title></path>`;
}

function rectPath({ x, y, width, height }: Rect): string {
  // What is less than a hundredth of a pixel would not be there at all.
  const [left, wide] = [round(x), Math.max(0.01, round(width))];
  return `M${left} ${y}h${wide}v${height}h${-wide}z`;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Rows in columns, and what the patterns mean. */
class Legend {
  readonly lines: readonly string[];
  readonly height: number;

  constructor(rows: readonly LegendRow[], shapes: readonly Shape[], width: number) {
    const perLine = Math.max(1, Math.floor(width / ROW_WIDTH));
    const shown = rows.length > MOST_ROWS ? rows.slice(0, MOST_ROWS - 1) : rows;
    const rest = rows.slice(shown.length);
    const items = shown.map(row => ({ row, text: row.name, bytes: row.bytes }));
    if (rest.length > 0) {
      const bytes = rest.reduce((sum, row) => sum + row.bytes, 0);
      items.push({ row: { ...NO_ROW, bytes }, text: `${rest.length} others`, bytes });
    }
    const perColumn = Math.ceil(items.length / perLine);
    const lines = items.map(({ row, text, bytes }, i) => {
      const x = Math.floor(i / perColumn) * ROW_WIDTH;
      const y = (i % perColumn) * ROW_HEIGHT;
      const pattern = row.kind === 'gap' ? 'gap' : row.fill === row.bytes && row.fill > 0 ? 'fill' : 'solid';
      const fill = row === NO_ROW ? 'none' : fillOf(colourOfPiece(row), pattern);
      return `<g transform="translate(${x} ${y})"><rect width="14" height="14" fill="${fill}"/><text x="22" y="12">${escapeXml(cut(text))}</text><text class="size" x="${ROW_WIDTH - 16}" y="12">${formatBytes(bytes)}</text></g>`;
    });
    const seen = [...new Set(shapes.map(({ pattern }) => pattern))].filter(pattern => pattern !== 'solid');
    const top = perColumn * ROW_HEIGHT + 12;
    const keys = seen.map((pattern, i) => {
      const shape = shapes.find(shape => shape.pattern === pattern);
      const fill = fillOf(shape?.colour ?? HEADER_COLOUR, pattern);
      const x = (i % perLine) * ROW_WIDTH;
      const y = top + Math.floor(i / perLine) * ROW_HEIGHT;
      return `<g transform="translate(${x} ${y})"><rect width="28" height="14" fill="${fill}"/><text x="36" y="12">${PATTERN_MEANINGS[pattern]}</text></g>`;
    });
    this.lines = [...lines, ...keys];
    this.height = top + Math.ceil(seen.length / perLine) * ROW_HEIGHT;
  }
}

const NO_ROW: LegendRow = { name: '', kind: 'gap', bytes: 0, zero: 0, fill: 0, count: 0, part: 0 };

/** Names of C++ sections and of regions can be long. */
const cut = (text: string): string => (text.length > 28 ? `${text.slice(0, 13)}…${text.slice(-14)}` : text);

/** XML 1.0: no control characters, whatever a file calls its sections. */
function escapeXml(text: string): string {
  return text
    .replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"]/g, character => ENTITIES[character] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
