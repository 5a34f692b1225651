/**
 * The legend beside the map: a button a name, which shows that name alone, and what the patterns mean.
 *
 * @module
 */
import { formatBytes } from '../../format-bytes.ts';
import { HEADER_COLOUR } from '../colours.ts';
import {
  colourOfPiece,
  isPlain,
  type Marked,
  PATTERN_MEANINGS,
  type Pattern,
  TILE_SIZE,
  TILES,
} from '../drawing.ts';
import { type LegendRow, legendOf } from '../legend.ts';
import type { MapData } from '../map-data.ts';
import type { Order } from '../view.ts';
import { element, make } from './elements.ts';

/** An object file can have 60,000 sections; a page with as many buttons is of no use. */
const MOST_ROWS = 400;

export function showLegend(data: MapData, order: Order, choose: (row: LegendRow | undefined) => void): void {
  const rows = legendOf(data, order);
  const buttons = new Map<LegendRow, HTMLButtonElement>();
  const press = (chosen: LegendRow, button: HTMLButtonElement): void => {
    const isPressed = button.getAttribute('aria-pressed') === 'true';
    for (const other of buttons.values()) other.setAttribute('aria-pressed', 'false');
    button.setAttribute('aria-pressed', `${!isPressed}`);
    choose(isPressed ? undefined : chosen);
  };
  const lines = rows.slice(0, MOST_ROWS).map(row => {
    const button = make('button', [swatch(colourOfPiece(row), patternOfRow(row)), new Text(row.name)], {
      type: 'button',
      'aria-pressed': 'false',
    });
    button.addEventListener('click', () => press(row, button));
    buttons.set(row, button);
    const zero = row.zero + row.fill;
    return make('tr', [
      make('td', [button]),
      make('td', formatBytes(row.bytes)),
      make('td', zero > 0 ? formatBytes(zero) : ''),
    ]);
  });
  if (rows.length > MOST_ROWS) {
    const bytes = rows.slice(MOST_ROWS).reduce((sum, row) => sum + row.bytes, 0);
    lines.push(
      make('tr', [
        make('td', `${rows.length - MOST_ROWS} others`),
        make('td', formatBytes(bytes)),
        make('td'),
      ]),
    );
  }
  element('legend', HTMLTableElement).tBodies[0]?.replaceChildren(...lines);
  element('patterns', HTMLUListElement).replaceChildren(
    ...Object.entries(PATTERN_MEANINGS).map(([pattern, meaning]) =>
      make('li', [swatch(HEADER_COLOUR, isPattern(pattern) ? pattern : 'solid'), new Text(meaning)]),
    ),
  );
}

const isPattern = (text: string): text is Pattern => text in PATTERN_MEANINGS;

function patternOfRow({ kind, fill, bytes }: LegendRow): Pattern {
  if (kind === 'gap') return 'gap';
  return fill === bytes && fill > 0 ? 'fill' : 'solid';
}

const SVG = 'http://www.w3.org/2000/svg';

/** A small square as it looks on the map. */
function swatch(colour: string, pattern: Pattern): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [name, value] of [
    ['class', 'swatch'],
    ['viewBox', `0 0 ${2 * TILE_SIZE} ${2 * TILE_SIZE}`],
    ['aria-hidden', 'true'],
  ] as const) {
    svg.setAttribute(name, value);
  }
  const under = document.createElementNS(SVG, 'rect');
  under.setAttribute('width', `${2 * TILE_SIZE}`);
  under.setAttribute('height', `${2 * TILE_SIZE}`);
  under.setAttribute('fill', colour);
  svg.append(under);
  if (!isPlain(pattern)) {
    under.setAttribute('fill-opacity', `${TILES[pattern].under}`);
    svg.append(...marksOf(colour, pattern));
  }
  return svg;
}

const marksOf = (colour: string, pattern: Marked): SVGPathElement[] =>
  [0, 1, 2, 3].map(i => {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', TILES[pattern].marks);
    path.setAttribute('stroke', colour);
    path.setAttribute('fill', 'none');
    path.setAttribute('transform', `translate(${(i & 1) * TILE_SIZE} ${(i >> 1) * TILE_SIZE})`);
    return path;
  });
