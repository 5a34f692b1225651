/**
 * The benchmark's result as text.
 *
 * @module
 */
import { judge, storedSpeed } from './goals.ts';
import {
  COLUMNS,
  type Column,
  type DumpResult,
  FORMS,
  type Measurements,
  medianOf,
  type Row,
} from './measurements.ts';
import { formatMib, formatMilliseconds, formatNumber, formatRatio, formatTable } from './table.ts';

const TITLES: Readonly<Record<Column, string>> = {
  start: 'own start',
  resumed: 'resumed',
  trained: 'trained',
  fork: 'fork',
  saved: 'own image',
  criu: 'CRIU',
};

/** All of it, lines ended. */
export function formatReport(measurements: Measurements): string {
  const { rows } = measurements;
  const parts = [
    formatMachine(measurements),
    'Whole runs, from exec (or fork) to reaped: medians in ms.',
    formatTimes(rows),
    formatReasons(rows),
    'The same in multiples of the trained resume (where there is none, of the resume), and page faults of a run.',
    formatRatios(rows),
    'Smaller images: MiB on disk, and the share of the plain one; a whole run in multiples of the plain resume.',
    formatForms(rows),
    'Dumps at the freeze point: ms, MiB. Stored bytes per second while contents were written.',
    formatDumps(rows),
    'Goals.',
    formatGoals(measurements),
  ];
  return `${parts.filter(part => part !== '').join('\n\n')}\n`;
}

function formatMachine({ machine, floor }: Measurements): string {
  const { kernel, cpu, cores, hypervisor, memoryBytes, hugePages, load, node } = machine;
  return [
    `Linux ${kernel}, ${cpu}, ${cores} cores${hypervisor ? ' (virtual machine)' : ''}, ` +
      `${formatNumber(memoryBytes / 2 ** 30)} GiB, huge pages: ${hugePages}, node ${node}, load ${formatNumber(load)}`,
    `Floor of exec, an empty static executable: ${formatMilliseconds(floor.median)} ms ` +
      `(least ${formatMilliseconds(floor.min)}, p95 ${formatMilliseconds(floor.p95)})`,
  ].join('\n');
}

const formatTimes = (rows: readonly Row[]): string =>
  formatTable(
    ['', ...COLUMNS.map(column => TITLES[column])],
    rows.map(row => [
      row.title,
      ...COLUMNS.map(column => {
        const median = medianOf(row, column);
        return median === undefined ? 'n/a' : formatMilliseconds(median);
      }),
    ]),
  );

/** Why columns are empty, each reason once. */
function formatReasons(rows: readonly Row[]): string {
  const reasons = new Map<string, string[]>();
  for (const row of rows) {
    for (const column of COLUMNS) {
      const timing = row.times[column];
      if (!('none' in timing)) continue;
      const text = `${TITLES[column]}: ${timing.none}`;
      reasons.set(text, [...(reasons.get(text) ?? []), row.id]);
    }
  }
  return [...reasons].map(([text, ids]) => `n/a ${text} (${ids.join(', ')})`).join('\n');
}

function formatRatios(rows: readonly Row[]): string {
  const best = (row: Row): number | undefined => medianOf(row, 'trained') ?? medianOf(row, 'resumed');
  const compared = COLUMNS.filter(column => column !== 'trained');
  return formatTable(
    ['', ...compared.map(column => TITLES[column]), 'faults: start', 'resumed', 'trained'],
    rows.map(row => [
      row.title,
      ...compared.map(column => ratio(medianOf(row, column), best(row))),
      ...(['start', 'resumed', 'trained'] as const).map(column => faults(row, column)),
    ]),
  );
}

const ratio = (value: number | undefined, to: number | undefined): string =>
  value === undefined || to === undefined ? 'n/a' : formatRatio(value / to);

function faults(row: Row, column: Column): string {
  const timing = row.times[column];
  return 'none' in timing ? 'n/a' : `${timing.faults ?? 'n/a'}`;
}

function formatForms(rows: readonly Row[]): string {
  const titles = { thin: '--thin', compressed: '--compress', both: 'both' } as const;
  return formatTable(
    ['', 'plain', ...FORMS.flatMap(form => [titles[form], 'share', 'time'])],
    rows.map(row => [
      row.title,
      formatMib(row.freeze.diskBytes),
      ...FORMS.flatMap(form => {
        const { timing, diskBytes } = row.forms[form];
        const median = 'none' in timing ? undefined : timing.median;
        const share = `${((100 * diskBytes) / row.freeze.diskBytes).toFixed(0)}%`;
        return [formatMib(diskBytes), share, ratio(median, medianOf(row, 'resumed'))];
      }),
    ]),
  );
}

function formatDumps(rows: readonly Row[]): string {
  const header = ['', 'total', 'stopped', 'GB/s', 'tool peak', 'stored', 'file', 'disk'];
  return formatTable(
    [...header, 'gcore', 'its file', 'CRIU', 'its files'],
    rows.map(({ title, freeze, gcore, criuDump }) => [
      title,
      formatNumber(freeze.milliseconds.total),
      formatNumber(freeze.milliseconds.stopped),
      formatNumber(storedSpeed(freeze) / 1e9),
      formatMib(freeze.peakMemory),
      formatMib(freeze.storedBytes),
      formatMib(freeze.fileSize),
      formatMib(freeze.diskBytes),
      ...formatDump(gcore),
      ...formatDump(criuDump),
    ]),
  );
}

const formatDump = (dump: DumpResult): [time: string, size: string] =>
  'none' in dump ? ['n/a', 'n/a'] : [formatNumber(dump.milliseconds), formatMib(dump.fileSize)];

const formatGoals = (measurements: Measurements): string =>
  formatTable(
    ['', 'goal', 'found', ''],
    judge(measurements).map(({ what, goal, found, met }) => [what, goal, found, met ? 'met' : 'MISSED']),
  );
