/**
 * `unexec [options] <running-image> <out-binary> [-- args...]`: freezes a program or a process that runs into an
 * executable, in one of two styles, or a library into a library that is initialised.
 *
 * @module
 */
import {
  type CoreOptions,
  dumpCore,
  type FreezeOptions,
  type FrozenFrom,
  freeze,
  freezeLibrary,
  type RestartOptions,
  readManifest,
  restart,
  type SharedOptions,
  VERSION,
} from '../../unexec/index.ts';
import { command, newParser, readWords, type Text } from '../command.ts';
import { type Context, printJson, progressLine, splitAtDashes, stderrStyle, tellLines } from '../context.ts';
import { UsageError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { renderCore } from '../freeze/core-report.ts';
import { helpText } from '../freeze/help.ts';
import { type Chosen, checkStyle, freezeOptions, NOT_AS_CORE, STARTING_ONLY } from '../freeze/options.ts';
import { renderPlan, renderSummary, reportJson } from '../freeze/report.ts';
import { renderRestart, renderRestartDetails, restartJson } from '../freeze/restart-report.ts';
import { renderShared, renderSharedDetails, sharedJson } from '../freeze/shared-report.ts';
import { isPid } from '../words.ts';
import { COMMANDS } from './index.ts';

export interface FreezeRequest {
  readonly type: 'freeze';
  readonly from: FrozenFrom;
  readonly target: string;
  readonly options: FreezeOptions;
}

/** The same with `--as core`. */
export interface CoreRequest {
  readonly type: 'core';
  readonly from: FrozenFrom;
  readonly target: string;
  readonly options: CoreOptions;
}

/** The same with `--style restart`. */
export interface RestartRequest {
  readonly type: 'restart';
  /** A core, or a program that maps the executable. */
  readonly source: string;
  readonly target: string;
  readonly options: RestartOptions;
}

/** With `--style shared`. */
export interface SharedRequest {
  readonly type: 'shared';
  readonly library: string;
  readonly target: string;
  readonly options: SharedOptions;
}

const DESCRIPTION =
  'Freezes an initialised program into an executable. Starting the executable continues the program from ' +
  'there, with new arguments, environment and terminal.';

export const FREEZE = command({
  name: 'freeze',
  summary: DESCRIPTION,
  parse: parseFreeze,
  run: (request, context) => {
    switch (request.type) {
      case 'freeze':
        return runFreeze(request, context);
      case 'core':
        return runCore(request, context);
      case 'restart':
        return runRestart(request, context);
      case 'shared':
        return runShared(request, context);
    }
  },
});

/**
 * What comes after the first `--` belongs to the program.
 *
 * @throws UsageError
 */
export function parseFreeze(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): FreezeRequest | CoreRequest | RestartRequest | SharedRequest | Text {
  const { own, args } = splitAtDashes(argv);
  const chosen: Chosen = {};
  const met = new Set<string>();
  const jsonHelp = "one JSON object on stdout; the program's own stdout goes to stderr";
  const parser = newParser('unexec', DESCRIPTION, jsonHelp, 'no summary; errors only')
    .usage('[options] <running-image> <out-binary> [-- args...]')
    .version(VERSION, '-V, --version', 'print the version')
    .option(
      '-v, --verbose',
      'list regions and restore steps, or segments, pointers and doubtful words; causes of errors',
    )
    .addHelpText('after', helpText(COMMANDS));
  if (!own.some(word => word === '--pid' || word.startsWith('--pid='))) {
    parser.argument(
      '<running-image>',
      'a program to be started and frozen: a path, or a name in PATH; or the number of a process that runs; or an ELF core; restart: or a Mach-O core; shared: a library',
    );
  }
  parser.argument('<out-binary>', 'the executable to be written');
  for (const option of freezeOptions(chosen, env, met)) parser.addOption(option);
  const text = readWords(parser, own, "the program's own arguments go after --");
  if (text !== undefined) return text;
  const { style = 'resume', as = 'program', pid, ...options } = chosen;
  checkStyle(style, met);
  if (as === 'core') checkCore(met);
  const target = parser.args.at(-1) ?? '';
  const program = pid === undefined ? (parser.args[0] ?? '') : String(pid);
  if (style === 'resume' && isPid(program)) {
    checkRunning(met, args);
    const type = as === 'core' ? 'core' : 'freeze';
    return { type, from: { pid: Number(program) }, target, options };
  }
  if (style === 'shared') {
    if (args.length > 0) throw new UsageError('a library has no arguments (--style shared)');
    return { type: 'shared', library: program, target, options };
  }
  return style === 'resume'
    ? { type: as === 'core' ? 'core' : 'freeze', from: program, target, options: { ...options, args } }
    : { type: 'restart', source: program, target, options: { ...options, args } };
}

function checkCore(met: ReadonlySet<string>): void {
  const flag = NOT_AS_CORE.find(flag => met.has(flag));
  if (flag !== undefined) throw new UsageError(`${flag.split(' ')[0]} is not for --as core`);
}

function checkRunning(met: ReadonlySet<string>, args: readonly string[]): void {
  const hint = 'a program whose name is a number is given by its path: ./1234';
  if (args.length > 0) throw new UsageError('a process that runs has its arguments already', hint);
  for (const flag of STARTING_ONLY) {
    if (met.has(flag))
      throw new UsageError(`${flag.split(' ')[0]} is for a program that is to be started`, hint);
  }
}

/**
 * The program shares our stdout and stderr, so our own words go to stderr. With `--json` stdout is for
 * the object alone, and the program's stdout goes to stderr too.
 */
const STDIO_WITH_JSON = [0, 2, 2] as const;

async function runFreeze({ from, target, options }: FreezeRequest, context: Context): Promise<number> {
  const { manner, signal } = context;
  const progress = progressLine(manner);
  const report = await freeze(from, target, {
    ...options,
    ...(manner.json ? { stdio: STDIO_WITH_JSON } : {}),
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  const manifest = manner.verbose ? readManifest(report.target) : undefined;
  if (manner.json) {
    printJson(reportJson(report, manifest));
  } else if (!manner.quiet) {
    const style = stderrStyle();
    if (manifest !== undefined) tellLines(renderPlan(manifest, report.steps, style));
    // A program that waits for input has left its prompt on the line.
    if (report.reached === 'input' && process.stderr.isTTY) process.stderr.write('\n');
    tellLines(renderSummary(report, style));
  }
  return EXIT.OK;
}

async function runCore({ from, target, options }: CoreRequest, context: Context): Promise<number> {
  const { manner, signal } = context;
  const progress = progressLine(manner);
  const report = await dumpCore(from, target, {
    ...options,
    ...(manner.json ? { stdio: STDIO_WITH_JSON } : {}),
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (manner.json) printJson({ ok: true, exitCode: 0, ...report });
  else if (!manner.quiet) tellLines(renderCore(report, stderrStyle()));
  return EXIT.OK;
}

async function runRestart({ source, target, options }: RestartRequest, context: Context): Promise<number> {
  const { manner, signal } = context;
  const progress = progressLine(manner);
  const report = await restart(source, target, {
    ...options,
    details: manner.verbose || manner.json,
    ...(manner.json ? { stdio: STDIO_WITH_JSON } : {}),
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (manner.json) {
    printJson(restartJson(report, manner.verbose));
  } else if (!manner.quiet) {
    const style = stderrStyle();
    if (manner.verbose) tellLines(renderRestartDetails(report, style));
    tellLines(renderRestart(report, style));
  }
  return EXIT.OK;
}

async function runShared({ library, target, options }: SharedRequest, context: Context): Promise<number> {
  const { manner, signal } = context;
  const report = await freezeLibrary(library, target, {
    ...options,
    ...(manner.json ? { stdio: STDIO_WITH_JSON } : {}),
    signal,
  });
  if (manner.json) {
    printJson(sharedJson(report, manner.verbose));
  } else if (!manner.quiet) {
    const style = stderrStyle();
    if (manner.verbose) tellLines(renderSharedDetails(report, style));
    tellLines(renderShared(report, style));
  }
  return EXIT.OK;
}
