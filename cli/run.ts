/**
 * One run of the command: from arguments to an exit status.
 *
 * @module
 */
import { freeze, readManifest } from '../unexec/index.ts';
import { errorJson, factsOf, renderError } from './errors.ts';
import { EXIT, exitCodeOf, exitCodeOfSignal } from './exit-codes.ts';
import { type Manner, mannerOf, parseCommandLine } from './program.ts';
import { ProgressLine } from './progress.ts';
import { styleFor } from './render.ts';
import { renderPlan, renderSummary, reportJson } from './report.ts';
import { handleSignals } from './signals.ts';

/**
 * The program shares our stdout and stderr, so our own words go to stderr. With `--json` stdout is for
 * the object alone, and the program's stdout goes to stderr too.
 */
const STDIO_WITH_JSON = [0, 2, 2] as const;

/** Runs the command; the result is its exit status. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  const manner = mannerOf(argv);
  const interruption = handleSignals();
  try {
    return await runRequest(argv, manner, interruption.signal);
  } catch (error) {
    const signal = await interruption.came();
    const told = signal === undefined ? error : interruption.signal.reason;
    const exitCode = signal === undefined ? exitCodeOf(factsOf(error).code) : exitCodeOfSignal(signal);
    tell(told, exitCode, manner);
    return exitCode;
  } finally {
    interruption.stop();
  }
}

async function runRequest(argv: readonly string[], manner: Manner, signal: AbortSignal): Promise<number> {
  const request = parseCommandLine(argv, process.env);
  if (request.type === 'text') {
    process.stdout.write(request.text);
    return EXIT.OK;
  }
  const { program, target, options } = request;
  const progress = new ProgressLine(manner.quiet || manner.json ? { write() {} } : process.stderr);
  const report = await freeze(program, target, {
    ...options,
    ...(manner.json ? { stdio: STDIO_WITH_JSON } : {}),
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  const manifest = manner.verbose ? readManifest(report.target) : undefined;
  if (manner.json) {
    process.stdout.write(`${JSON.stringify(reportJson(report, manifest))}\n`);
  } else if (!manner.quiet) {
    const style = styleFor(process.stderr, process.env);
    if (manifest !== undefined) writeLines(renderPlan(manifest, report.steps, style));
    // A program that waits for input has left its prompt on the line.
    if (report.reached === 'input' && process.stderr.isTTY) process.stderr.write('\n');
    writeLines(renderSummary(report, style));
  }
  return EXIT.OK;
}

function tell(error: unknown, exitCode: number, { json, verbose }: Manner): void {
  if (json) process.stdout.write(`${JSON.stringify(errorJson(error, exitCode))}\n`);
  else writeLines(renderError(error, styleFor(process.stderr, process.env), verbose));
}

function writeLines(lines: readonly string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}
