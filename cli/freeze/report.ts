/**
 * What is told of a freeze that succeeded: a summary, the plan (`--verbose`), or JSON.
 *
 * @module
 */
import type { FreezeReport, Manifest, Step, StepArgument } from '../../unexec/index.ts';
import { formatBytes, formatDuration, printable, type Style, table } from '../render.ts';

/** A few lines for people. */
export function renderSummary(report: FreezeReport, style: Style): string[] {
  const { milliseconds: ms } = report;
  const memory = `${formatBytes(report.memoryBytes)} of memory`;
  const left = report.leftBytes === 0 ? '' : ` and ${formatBytes(report.leftBytes)} left in their files`;
  const stored = `${formatBytes(report.storedBytes)} stored${left}`;
  const counts = [count(report.threads, 'thread'), count(report.descriptors, 'descriptor')].join(', ');
  const isCore = report.reached === 'core';
  const how = isCore ? 'from a core' : `${whereOf(report)}, after ${formatDuration(ms.toFreezePoint)}`;
  const rows = [
    ['frozen', `${report.program} ${how}`],
    ['file', `${formatBytes(report.fileSize)}, ${stored} of ${memory}`],
    ['kept', `${count(report.regions, 'region')}, ${counts}`],
  ];
  if (!isCore) {
    rows.push(['stopped', `${formatDuration(ms.stopped)} of ${formatDuration(ms.total)}${copied(report)}`]);
  }
  if (report.cpu !== undefined) rows.push(['for', cpuText(report.cpu)]);
  if (report.pid !== undefined) rows.push(['running', `process ${report.pid} goes on`]);
  if (report.assumptions.length > 0) rows.push(['assumed', 'what the core does not say:']);
  for (const { what, assumed } of report.assumptions) rows.push(['', `${what}: ${assumed}`]);
  const lines = table(rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)]));
  return [`${style.green('written')} ${style.bold(printable(report.target))}`, ...lines];
}

const whereOf = ({ reached }: FreezeReport): string => (reached === 'now' ? 'where it was' : `at ${reached}`);

/** What a process that goes on did not have to wait for. */
function copied({ pid, copiedBytes }: FreezeReport): string {
  if (copiedBytes !== undefined) return `: it went on when ${formatBytes(copiedBytes)} were copied`;
  return pid === undefined ? '' : ': until the file had its contents, for want of memory to copy them';
}
/** For which CPU, and what that does not cover. */
const cpuText = ({ level, by }: NonNullable<FreezeReport['cpu']>): string =>
  by === 'trapping'
    ? `${level} and later, whatever the program asked`
    : `${level} and later as far as the C library chose; this machine cannot trap CPUID, and code that asks by itself saw its CPU`;

/** Regions that were kept and the steps of the restore program, as tables. */
export function renderPlan(manifest: Manifest, steps: readonly Step[], style: Style): string[] {
  const regions = manifest.regions.map(({ start, size, permissions, kind, name, stored }) => [
    start,
    formatBytes(size),
    formatBytes(stored),
    permissions,
    kind,
    printable(name),
  ]);
  const program = steps.map((step, i) => [
    `${i}`,
    step.required ? '' : 'best effort',
    step.op,
    printable(step.name),
    step.args.map(formatArgument).join(' '),
  ]);
  return [
    style.bold('regions'),
    ...table([['address', 'size', 'stored', '', 'kind', 'name'], ...regions], ['left', 'right', 'right']),
    '',
    style.bold('steps at each start'),
    ...table([['', '', 'operation', 'what', 'arguments'], ...program], ['right']),
    '',
  ];
}

/** The object of `--json`; `plan` (with `--verbose`) adds regions and steps. */
export function reportJson(report: FreezeReport, plan: Manifest | undefined): object {
  const { steps, ...facts } = report;
  const details =
    plan === undefined
      ? {}
      : {
          manifest: plan,
          restoreSteps: steps.map(({ op, required, name, args }) => ({
            op,
            required,
            name,
            args: args.map(formatArgument),
          })),
        };
  return { ok: true, exitCode: 0, ...facts, steps: steps.length, ...details };
}

function formatArgument(argument: StepArgument): string {
  if (typeof argument === 'number' || typeof argument === 'bigint') {
    return `0x${BigInt.asUintN(64, BigInt(argument)).toString(16)}`;
  }
  if ('slot' in argument) return `$${argument.slot}`;
  if ('label' in argument) return `@${argument.label}`;
  return `data:${argument.data}+${argument.offset}`;
}

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
