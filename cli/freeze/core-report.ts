/**
 * What is told of a core that was written (`--as core`).
 *
 * @module
 */
import type { CoreReport } from '../../unexec/index.ts';
import { formatBytes, formatDuration, printable, type Style, table } from '../render.ts';

/** A few lines for people. */
export function renderCore(report: CoreReport, style: Style): string[] {
  const { milliseconds: ms } = report;
  const rows = [
    ['core of', report.program],
    ['file', `${formatBytes(report.fileSize)}, ${formatBytes(report.storedBytes)} stored`],
    ['kept', `${report.regions} regions, ${report.threads} threads`],
    ['stopped', `${formatDuration(ms.stopped)} of ${formatDuration(ms.total)}`],
  ];
  if (report.pid !== undefined) rows.push(['running', `process ${report.pid} goes on`]);
  for (const refusal of report.refusals) rows.push(['no freeze', refusal]);
  const lines = table(rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)]));
  return [`${style.green('written')} ${style.bold(printable(report.target))}`, ...lines];
}
