/**
 * `unexec prepare IN OUT --reserve SIZE`: gives an executable the room for its heap that it needs to be frozen in
 * style `restart`.
 *
 * @module
 */
import { Option } from 'commander';
import { type PrepareReport, prepare } from '../../unexec/index.ts';
import {
  command,
  type Example,
  examplesSection,
  exitSection,
  newParser,
  readWords,
  type Text,
} from '../command.ts';
import { type Context, printJson, stderrStyle, tellLines } from '../context.ts';
import { EXIT, EXIT_MEANINGS } from '../exit-codes.ts';
import { formatBytes, printable, type Style, table } from '../render.ts';
import { parseSize } from '../sizes.ts';

export interface PrepareRequest {
  readonly type: 'prepare';
  readonly input: string;
  readonly target: string;
  readonly options: { readonly reserve: number; readonly extend: boolean };
}

const SUMMARY = 'give an executable room for the heap of style restart';
const DESCRIPTION =
  'Writes the executable again, with zeroed address space for the heap that its zone allocator (unexec/runtime) ' +
  'fills: a segment of its own, or where the header of a Mach-O file has no room for one the last writable segment ' +
  'made longer. It takes no space on disk. A file that was signed is signed ad hoc.';

const EXAMPLES: readonly Example[] = [
  ['unexec prepare build/app build/app.prepared --reserve 256M', 'after linking, before the program is run'],
  ['unexec prepare --extend --reserve 64M app app', 'in place, and without a new segment'],
];

export const PREPARE = command({ name: 'prepare', summary: SUMMARY, parse: parsePrepare, run: runPrepare });

/** @throws UsageError */
export function parsePrepare(words: readonly string[]): PrepareRequest | Text {
  let reserve = 0;
  const parser = newParser(
    'unexec prepare',
    DESCRIPTION,
    'one JSON object on stdout',
    'no summary; errors only',
  )
    .argument('<in>', 'a Mach-O or ELF executable')
    .argument('<out>', 'the executable to be written; may be the same')
    .addOption(
      new Option('--reserve <size>', 'address space for the heap: 256M, 1G, 0x10000000, bytes')
        .makeOptionMandatory()
        .argParser(text => (reserve = parseSize(text))),
    )
    .option('--extend', 'make the last writable segment longer, even where there is room for a new one')
    .option('-v, --verbose', 'causes of errors')
    .addHelpText('after', examplesSection(EXAMPLES) + exitSection(EXIT_MEANINGS.filter(isOfPrepare)));
  const text = readWords(parser, words);
  if (text !== undefined) return text;
  const [input = '', target = ''] = parser.args;
  return { type: 'prepare', input, target, options: { reserve, extend: parser.opts()['extend'] === true } };
}

const isOfPrepare = ([code]: readonly [number | string, string]): boolean =>
  code !== EXIT.FREEZE_POINT && code !== EXIT.PROGRAM && code !== EXIT.FINDINGS;

async function runPrepare({ input, target, options }: PrepareRequest, context: Context): Promise<number> {
  const { manner, signal } = context;
  const report = await prepare(input, target, { ...options, signal });
  if (manner.json) printJson({ ok: true, exitCode: EXIT.OK, ...report });
  else if (!manner.quiet) tellLines(renderPrepared(report, stderrStyle()));
  return EXIT.OK;
}

/** A few lines for people. */
export function renderPrepared(report: PrepareReport, style: Style): string[] {
  const { mode, segment, address, reserve } = report;
  const place = `${formatBytes(reserve)} at 0x${address.toString(16)}`;
  const rows = [
    ['reserve', mode === 'segment' ? `${place}, segment ${segment}` : `${place}, at the end of ${segment}`],
    ...(report.signed ? [['signed', 'ad hoc']] : []),
    ['runtime', report.runtime ? 'there, and told of the reserve' : 'not there'],
    ...report.remarks.map(remark => ['remark', remark]),
  ];
  return [
    `${style.green('written')} ${style.bold(printable(report.target))}`,
    ...table(rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)])),
  ];
}
