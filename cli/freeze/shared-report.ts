/**
 * What is told of a library that was frozen in style `shared`: a summary, details (`--verbose`), or JSON.
 *
 * @module
 */
import type { SharedReport } from '../../unexec/index.ts';
import { formatBytes, printable, type Style, table } from '../render.ts';

/** A few lines for people. */
export function renderShared(report: SharedReport, style: Style): string[] {
  const { blocks, pointers, relocations } = report;
  const by = report.init === undefined ? 'its constructors' : `${report.init}()`;
  const kind = relocations.compact ? 'compact relocations' : 'relocations';
  const rows = [
    ['frozen', `${report.library} (${report.arch}), initialised by ${by}`],
    ['file', `${formatBytes(report.size)}, ${blocks.count} blocks with ${formatBytes(blocks.bytes)}`],
    ['pointers', `${pointers.inward} into the library, ${pointers.outward} to others; ${kind}`],
  ];
  if (report.rerouted.length > 0) {
    rows.push(['blocks', `left alone by ${report.rerouted.join(', ')}`]);
  }
  for (const remark of report.remarks) rows.push(['remark', remark]);
  return [
    `${style.green('written')} ${style.bold(printable(report.target))}`,
    ...table(rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)])),
  ];
}

/** The variables on which most hangs, and what most pointers out of the library lead to, as tables. */
export function renderSharedDetails({ roots, symbols }: SharedReport, style: Style): string[] {
  const variables = roots.map(({ name, blocks, bytes, largest }) => [
    formatBytes(bytes),
    `${blocks}`,
    formatBytes(largest),
    printable(name === '' ? '(what was returned)' : name),
  ]);
  const imports = symbols.map(({ name, words }) => [`${words}`, printable(name)]);
  const lines: string[] = [];
  if (variables.length > 0) {
    lines.push(style.bold('blocks by the variable that leads to them'));
    lines.push(...table([['bytes', 'blocks', 'largest', 'variable'], ...variables], RIGHT), '');
  }
  if (imports.length > 0) {
    lines.push(style.bold('pointers out of the library'));
    lines.push(...table([['words', 'symbol'], ...imports], RIGHT.slice(0, 1)), '');
  }
  return lines;
}

const RIGHT = ['right', 'right', 'right'] as const;

/** The object of `--json`; `details` (with `--verbose`) adds variables and symbols. */
export function sharedJson(report: SharedReport, details: boolean): object {
  const { roots, symbols, growsStrings: _, ...facts } = report;
  return { ok: true, exitCode: 0, style: 'shared', ...facts, ...(details ? { roots, symbols } : {}) };
}
