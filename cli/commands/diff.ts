/**
 * `unexec diff A B`: two images, or a running process and an image, compared.
 *
 * @module
 */
import { type DiffSource, diff } from '../../unexec/index.ts';
import {
  command,
  type Example,
  examplesSection,
  exitSection,
  newParser,
  readWords,
  type Text,
} from '../command.ts';
import { type Context, printJson, printLines, progressLine, stdoutStyle } from '../context.ts';
import { renderDiff } from '../diff/report-text.ts';
import { EXIT, EXIT_MEANINGS } from '../exit-codes.ts';
import { isPid } from '../words.ts';

export interface DiffRequest {
  readonly type: 'diff';
  readonly a: DiffSource;
  readonly b: DiffSource;
}

const SUMMARY = 'compare two frozen files, or a running process with one, by region, page and symbol';
const DESCRIPTION =
  'Compares two files, or a running process and a file, by region and page: what is the same, changed, zero, or only in one ' +
  'of them; which symbols differ most; and what the words are that differ: pointers that moved because addresses are random, ' +
  'process numbers, times, canaries, or something else. Takes what unexec froze, and any other ELF or Mach-O file.';

const EXAMPLES: readonly Example[] = [
  ['unexec diff ./report.old ./report', 'why is the new image larger?'],
  ['unexec diff 4711 ./report', 'what has the process done since it was resumed?'],
  ['unexec diff --quiet ./first ./second', 'are they the same? by exit status, for scripts'],
  ["unexec diff --json ./first ./second | jq '.unexplained[] | .symbol'", 'what is not reproducible'],
];

export const DIFF = command({ name: 'diff', summary: SUMMARY, parse: parseDiff, run: runDiff });

/** @throws UsageError */
export function parseDiff(words: readonly string[]): DiffRequest | Text {
  const parser = newParser(
    'unexec diff',
    DESCRIPTION,
    'one JSON object on stdout; its schema is DiffReport in the types of the package',
    'no report; only the exit status',
  )
    .argument('<a>', 'a file, or the number of a process (which stands still meanwhile)')
    .argument('<b>', 'likewise')
    .option('-v, --verbose', 'every row of every table; causes of errors')
    .addHelpText(
      'after',
      examplesSection(EXAMPLES) + exitSection(EXIT_MEANINGS.filter(([code]) => DIFF_EXITS.has(code))),
    );
  const text = readWords(parser, words);
  if (text !== undefined) return text;
  const [a = '', b = ''] = parser.args;
  return { type: 'diff', a: sourceOf(a), b: sourceOf(b) };
}

/** A file of such a name is written `./123`. */
const sourceOf = (word: string): DiffSource => (isPid(word) ? { pid: Number(word) } : word);

const DIFF_EXITS: ReadonlySet<number | string> = new Set([
  EXIT.OK,
  EXIT.FAILURE,
  EXIT.USAGE,
  EXIT.PROGRAM,
  EXIT.DIFFERENT,
]);

async function runDiff({ a, b }: DiffRequest, { manner, signal }: Context): Promise<number> {
  const progress = progressLine(manner, 'comparing');
  const report = await diff(a, b, {
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  const exitCode = report.same ? EXIT.OK : EXIT.DIFFERENT;
  if (manner.json) printJson({ ok: report.same, exitCode, ...report });
  else if (!manner.quiet) printLines(renderDiff(report, stdoutStyle(), manner.verbose));
  return exitCode;
}
