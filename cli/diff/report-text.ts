/**
 * The report of `unexec diff` as tables for people: what differs most comes first.
 *
 * @module
 */
import type {
  DiffRegion,
  DiffReport,
  DiffSide,
  DiffSteps,
  PageCounts,
  StepCount,
} from '../../unexec/index.ts';
import { fittedTable, shorten, WIDTH, wrapped } from '../fitted.ts';
import { type Align, formatBytes, printable, type Style } from '../render.ts';

const PAGE = 4096;
/** Rows of a table, where not all are asked for. */
const SHOWN = 20;

/** `verbose`: every row of every table. */
export function renderDiff(report: DiffReport, style: Style, verbose: boolean): string[] {
  const { a, b, same } = report;
  const limit = verbose ? Number.POSITIVE_INFINITY : SHOWN;
  const head = [sideLine('a', a, style), sideLine('b', b, style)];
  if (same) return [...head, '', style.green('no difference')];
  return [
    ...head,
    ...section(style, 'pages', pageRows(report), PAGE_ALIGN, limit),
    ...wordLines(report, style),
    ...section(style, 'differences by symbol', symbolRows(report), SYMBOL_ALIGN, limit),
    ...section(style, 'words that are no moved pointers', unexplainedRows(report), [], limit),
    ...section(style, 'said of itself', fieldRows(report), [], limit),
    ...section(style, 'restore program', stepRows(report.steps), ['left', 'right'], limit),
    ...section(style, 'rest of the file', partRows(report), PART_ALIGN, limit),
  ];
}

function sideLine(letter: string, { path, pid, kind, arch, frozenAt, size }: DiffSide, style: Style): string {
  const facts = [
    pid === null ? `${kind} ${arch}` : `process ${pid}, ${arch}`,
    ...(size === null ? [] : [formatBytes(size)]),
    ...(frozenAt === null ? [] : [`frozen ${frozenAt}`]),
  ].join(', ');
  const name = shorten(printable(path), Math.max(12, WIDTH - facts.length - 5));
  return `${letter}  ${style.bold(name)}  ${facts}`;
}

/** A title and a table with a head, where there is more than the head. */
function section(
  style: Style,
  title: string,
  rows: readonly (readonly string[])[],
  align: readonly Align[],
  limit: number,
): string[] {
  if (rows.length < 2) return [];
  const shown = rows.slice(0, 1 + limit);
  const more = rows.length - shown.length;
  return [
    '',
    style.bold(title),
    ...fittedTable(
      shown.map(([first = '', ...others]) => [`  ${first}`, ...others]),
      align,
    ),
    ...(more > 0 ? [style.dim(`  and ${more} more (--verbose)`)] : []),
  ];
}

const PAGE_ALIGN: readonly Align[] = ['right', 'right', 'right', 'right', 'right', 'right', 'left', 'left'];
const SYMBOL_ALIGN: readonly Align[] = ['right', 'right', 'right', 'right'];
const PART_ALIGN: readonly Align[] = ['right', 'right', 'right'];

const bytes = (count: number): string => (count === 0 ? '-' : formatBytes(count));
const differing = ({ changed, onlyA, onlyB }: PageCounts): number => changed + onlyA + onlyB;

/** Regions that differ, most first, below the sum of all. */
function pageRows({ pages, regions }: DiffReport): string[][] {
  const row = (counts: PageCounts, where: string, name: string): string[] => [
    ...[counts.changed, counts.onlyA, counts.onlyB, counts.same, counts.zero, counts.left].map(n =>
      bytes(n * PAGE),
    ),
    where,
    name,
  ];
  const isDifferent = ({ pages, addressA, addressB }: DiffRegion): boolean =>
    differing(pages) > 0 || addressA === null || addressB === null;
  return [
    ['changed', 'only a', 'only b', 'same', 'zero', 'in files', '', 'region'],
    row(pages, '', 'all'),
    ...regions
      .filter(isDifferent)
      .sort((x, y) => differing(y.pages) - differing(x.pages))
      .map(region => row(region.pages, whose(region), printable(region.name))),
  ];
}

function whose({ addressA, addressB, sizeA, sizeB }: DiffRegion): string {
  if (addressB === null) return 'a has it';
  if (addressA === null) return 'b has it';
  return sizeA === sizeB ? '' : sizeA > sizeB ? 'a longer' : 'b longer';
}

function wordLines({ words, regions, a }: DiffReport, style: Style): string[] {
  const { moved, unexplained } = words;
  if (moved + unexplained === 0) return [];
  const kinds = new Map<string, number>();
  for (const region of regions) {
    for (const [kind, count] of Object.entries(region.kinds)) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
  }
  const seen = [...kinds].sort((x, y) => y[1] - x[1]);
  const looked = seen.reduce((sum, [, count]) => sum + count, 0);
  const others = `${unexplained} others${looked < unexplained ? `, of which the first ${looked} are` : ', which are'}:`;
  const hint = '  freeze both with --reproducible, and pointers stay where they are';
  return [
    '',
    style.bold('words on changed pages'),
    `  ${moved} pointers that moved with what they lead to`,
    ...(seen.length === 0
      ? []
      : wrapped([others, ...seen.map(([kind, count]) => `${count}\u00a0${kind}`)], '  ')),
    ...(moved > 0 && a.kind === 'image' ? [style.dim(hint)] : []),
  ];
}

const symbolRows = ({ symbols }: DiffReport): string[][] => [
  ['changed', 'only a', 'only b', 'moved', 'symbol', 'region'],
  ...symbols.map(({ name, region, changed, onlyA, onlyB, moved }) => [
    ...[changed, onlyA, onlyB, moved].map(bytes),
    shorten(printable(name), 40),
    printable(region),
  ]),
];

const unexplainedRows = ({ unexplained }: DiffReport): string[][] => [
  ['at (a)', 'a', 'b', 'symbol', 'what it seems to be'],
  ...unexplained.map(({ addressA, valueA, valueB, symbol, region, kind }) => [
    addressA,
    valueA,
    valueB,
    symbol === null
      ? shorten(printable(region), 24)
      : `${shorten(printable(symbol.name), 18)}+${symbol.offset}`,
    kind,
  ]),
];

const fieldRows = ({ fields }: DiffReport): string[][] => [
  ['field', 'a', 'b'],
  ...fields.map(({ name, a, b }) => [
    shorten(printable(name), 24),
    shorten(printable(a ?? '-'), 34),
    printable(b ?? '-'),
  ]),
];

function stepRows(steps: DiffSteps | null): string[][] {
  if (steps === null) return [];
  const rows = (how: string, list: readonly StepCount[]): string[][] =>
    list.map(({ name, count }) => [how, `${count}`, printable(name)]);
  return [
    ['', 'steps', ''],
    ...rows('other arguments', steps.changed),
    ...rows('only a', steps.onlyA),
    ...rows('only b', steps.onlyB),
  ];
}

const partRows = ({ parts }: DiffReport): string[][] => [
  ['differs', 'a', 'b', 'part'],
  ...parts.map(({ name, sizeA, sizeB, changed }) => [
    formatBytes(changed),
    sizeA === null ? '-' : formatBytes(sizeA),
    sizeB === null ? '-' : formatBytes(sizeB),
    printable(name),
  ]),
];
