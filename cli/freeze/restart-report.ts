/**
 * What is told of a dump in style `restart` that succeeded: a summary, details (`--verbose`), or JSON.
 *
 * @module
 */
import type { RestartReport } from '../../unexec/index.ts';
import { formatBytes, printable, type Style, table } from '../render.ts';

/** A few lines for people. */
export function renderRestart(report: RestartReport, style: Style): string[] {
  const { segments, zone, pointers } = report;
  const inFile = segments.filter(({ file }) => file > 0);
  const stored = inFile.reduce((sum, segment) => sum + segment.stored, 0);
  const life = report.generation === 1 ? 'its first life' : `life ${report.generation}`;
  const rows = [
    ['dumped', `${report.program} (${report.arch}) from ${report.freezePoint}, in ${life}`],
    ['file', `${formatBytes(report.size)}, ${formatBytes(stored)} stored of ${inFile.length} segments`],
    ['pointers', `${pointers.pointers}, ${METHODS[pointers.method]}`],
  ];
  if (zone !== undefined) {
    const size = `${formatBytes(zone.used)} in use, ${formatBytes(zone.size)} reserved`;
    rows.push(['zone', `${size}, written to ${formatBytes(zone.highWater)}`]);
  }
  for (const remark of report.remarks) rows.push(['remark', remark]);
  return [
    `${style.green('written')} ${style.bold(printable(report.target))}`,
    ...table(rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)])),
  ];
}

const METHODS: Readonly<Record<RestartReport['pointers']['method'], string>> = {
  comparison: 'by comparison of two runs',
  scan: 'by a scan of one run',
  none: 'which need no fixups: the program is not position independent',
};

/** The segments as a table, and every word of which it is not certain what it is. */
export function renderRestartDetails(report: RestartReport, style: Style): string[] {
  const rows = report.segments.map(({ name, address, memory, file, stored }) => [
    `0x${address.toString(16)}`,
    formatBytes(memory),
    formatBytes(file),
    formatBytes(stored),
    printable(name),
  ]);
  const lines = [
    style.bold('segments'),
    ...table([['address', 'size', 'file', 'stored', 'name'], ...rows], ['left', 'right', 'right', 'right']),
    '',
    ...mapLines(report.map, style),
  ];
  if (report.doubtful.length === 0) return lines;
  return [...lines, style.bold('doubtful words'), ...report.doubtful.map(line => `  ${printable(line)}`), ''];
}

/** Rows of each table that are shown to people; `--json` has all. */
const MOST_ROWS = 20;

function mapLines(map: RestartReport['map'], style: Style): string[] {
  if (map === undefined) return [];
  const ways = map.ways
    .slice(0, MOST_ROWS)
    .map(({ from, to, kind, pointers }) => [`${pointers}`, printable(from), printable(to), kind]);
  const lines = [style.bold('pointers'), ...table([['count', 'from', 'to', ''], ...ways], ['right']), ''];
  if (map.blocks === undefined) return lines;
  const { blocks, bytes, unreachable, dangling, roots } = map.blocks;
  const rows = roots
    .slice(0, MOST_ROWS)
    .map(root => [
      `${root.blocks}`,
      formatBytes(root.bytes),
      formatBytes(root.largest),
      printable(root.name),
    ]);
  const unreached = `${unreachable.blocks} of them (${formatBytes(unreachable.bytes)}) unreachable`;
  return [
    ...lines,
    style.bold(
      `blocks: ${blocks} of ${formatBytes(bytes)}, ${unreached}, ${dangling} pointers to freed ones`,
    ),
    ...table([['blocks', 'bytes', 'largest', 'reached from'], ...rows], ['right', 'right', 'right']),
    '',
  ];
}

/** The object of `--json`; `details` (with `--verbose`) adds the doubtful words. */
export function restartJson(report: RestartReport, details: boolean): object {
  const { doubtful, ...facts } = report;
  return { ok: true, exitCode: 0, style: 'restart', ...facts, ...(details ? { doubtful } : {}) };
}
