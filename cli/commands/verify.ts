/**
 * `unexec verify FILE...`: holds files to the rules of those who load them.
 *
 * @module
 */
import { UnexecError, type VerifiedFile, verifyFile } from '../../unexec/index.ts';
import {
  command,
  type Example,
  examplesSection,
  exitSection,
  newParser,
  readWords,
  type Text,
} from '../command.ts';
import { type Context, printJson, printLines, stderrStyle, stdoutStyle, tellLines } from '../context.ts';
import { errorJson, factsOf, renderError } from '../errors.ts';
import { EXIT, EXIT_MEANINGS, exitCodeOf } from '../exit-codes.ts';
import { printable, type Style, table } from '../render.ts';

export interface VerifyRequest {
  readonly type: 'verify';
  readonly files: readonly string[];
}

const SUMMARY = 'say which rules of the system and its tools a file breaks';
const DESCRIPTION =
  'Holds ELF and Mach-O files to the rules of those who load them (Linux and ld.so, macOS and dyld) and of the ' +
  'tools that work on them. All findings are told, each with its place. Files that unexec wrote are compared ' +
  'with what they say about themselves, too.';

const EXAMPLES: readonly Example[] = [
  ['unexec verify ./report', 'an executable that unexec wrote'],
  ['unexec verify --json lib/*.dylib', 'for scripts: one object, all files'],
  ['unexec verify -q build/app || exit 1', 'silent unless there is something to be said'],
];

export const VERIFY = command({ name: 'verify', summary: SUMMARY, parse: parseVerify, run: runVerify });

/** @throws UsageError */
export function parseVerify(words: readonly string[]): VerifyRequest | Text {
  const parser = newParser(
    'unexec verify',
    DESCRIPTION,
    'one JSON object on stdout',
    'findings and errors only',
  )
    .argument('<file...>', 'ELF and Mach-O files; of fat ones each slice is looked at')
    .option('-v, --verbose', 'the code of each finding; causes of errors')
    .addHelpText(
      'after',
      examplesSection(EXAMPLES) + exitSection(EXIT_MEANINGS.filter(([code]) => VERIFY_EXITS.has(code))),
    );
  return readWords(parser, words) ?? { type: 'verify', files: parser.args };
}

const VERIFY_EXITS: ReadonlySet<number | string> = new Set([
  EXIT.OK,
  EXIT.FAILURE,
  EXIT.USAGE,
  EXIT.FINDINGS,
]);

/** A file of the command line: what was found, or why nothing could be. */
type Outcome =
  | { readonly path: string; readonly verified: VerifiedFile }
  | { readonly path: string; readonly error: unknown };

async function runVerify({ files }: VerifyRequest, { manner, signal }: Context): Promise<number> {
  const outcomes: Outcome[] = [];
  for (const path of files) {
    // Lets a signal be noticed between two files; what is thrown is the signal's own error.
    await new Promise(setImmediate);
    signal.throwIfAborted();
    const outcome = outcomeOf(path);
    outcomes.push(outcome);
    if (manner.json) continue;
    if ('error' in outcome) tellLines(renderError(outcome.error, stderrStyle(), manner.verbose));
    else printLines(renderVerified(outcome.verified, stdoutStyle(), manner));
  }
  const exitCode = exitCodeFor(outcomes);
  if (manner.json) printJson({ ok: exitCode === EXIT.OK, exitCode, files: outcomes.map(outcomeJson) });
  return exitCode;
}

/** One file that cannot be read does not keep the others from being looked at. */
function outcomeOf(path: string): Outcome {
  try {
    return { path, verified: verifyFile(path) };
  } catch (error) {
    if (!(error instanceof UnexecError)) throw error;
    return { path, error };
  }
}

/** That a file could not be looked at weighs more than findings in another one. */
function exitCodeFor(outcomes: readonly Outcome[]): number {
  for (const outcome of outcomes) if ('error' in outcome) return exitCodeOf(factsOf(outcome.error).code);
  const isSound = outcomes.every(outcome => 'verified' in outcome && outcome.verified.findings.length === 0);
  return isSound ? EXIT.OK : EXIT.FINDINGS;
}

/** Lines for people: the file with what it is, then its findings. */
export function renderVerified(
  { path, what, findings }: VerifiedFile,
  style: Style,
  { quiet, verbose }: { readonly quiet: boolean; readonly verbose: boolean },
): string[] {
  const kinds = what.map(printable).join(', ');
  if (findings.length === 0) {
    return quiet ? [] : [`${style.green('sound')} ${style.bold(printable(path))}: ${kinds}`];
  }
  const rows = findings.map(({ code, severity, message, slice }) => [
    `  ${severity === 'error' ? style.red(severity) : style.yellow(severity)}`,
    ...(verbose ? [style.dim(code)] : []),
    printable(slice === undefined ? message : `${slice}: ${message}`),
  ]);
  const count = `${findings.length} finding${findings.length === 1 ? '' : 's'}`;
  return [`${style.red(count)} ${style.bold(printable(path))}: ${kinds}`, ...table(rows)];
}

/** The part of the object of `--json` that is about one file. */
function outcomeJson(outcome: Outcome): object {
  if ('error' in outcome) {
    const { error } = outcome;
    return { path: outcome.path, ...errorJson(error, exitCodeOf(factsOf(error).code)) };
  }
  const { what, findings } = outcome.verified;
  return { path: outcome.path, ok: findings.length === 0, what, findings };
}
