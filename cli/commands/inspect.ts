/**
 * `unexec inspect FILE`: what is in a file, at an address of it, or in it that nobody should see.
 *
 * @module
 */
import { InvalidArgumentError, Option } from 'commander';
import { FormatError, findSecrets, followAddress, inspectFile, UnexecError } from '../../unexec/index.ts';
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
import { UsageError } from '../errors.ts';
import { EXIT, EXIT_MEANINGS } from '../exit-codes.ts';
import { renderAddress, renderSecrets } from '../inspect/address-text.ts';
import { renderReport } from '../inspect/report-text.ts';

export interface InspectRequest {
  readonly type: 'inspect';
  readonly file: string;
  /** What is asked: what the file is, what is at an address of it, or what looks like a credential. */
  readonly about: 'file' | 'address' | 'secrets';
  readonly address: bigint | undefined;
  /** Tells the restore program, too. */
  readonly steps: boolean;
}

const SUMMARY = 'tell what is in a file: segments, and all that unexec froze';
const DESCRIPTION =
  'Tells what is in an ELF or Mach-O file (executable, library, object, core, fat file): kind, segments and sections. ' +
  'Of a file that unexec wrote also where and how it was frozen, its memory by kind, malloc zones, threads, ' +
  'descriptors, modules, what it needs of the CPU, and what each start makes anew.';

const EXAMPLES: readonly Example[] = [
  ['unexec inspect ./report', 'what was frozen, and what is in the file'],
  ['unexec inspect --steps ./report', 'what it does at each start, step by step'],
  ['unexec inspect --address 0x401136 ./report', 'the section, the symbol and the bytes at an address'],
  ['unexec inspect --secrets ./report || exit 1', 'before it is shipped: passwords, tokens, keys'],
  ["unexec inspect --json ./report | jq '.images[].unexec.regionKinds'", 'for scripts'],
];

export const INSPECT = command({ name: 'inspect', summary: SUMMARY, parse: parseInspect, run: runInspect });

/** @throws UsageError */
export function parseInspect(words: readonly string[]): InspectRequest | Text {
  let address: bigint | undefined;
  const parser = newParser(
    'unexec inspect',
    DESCRIPTION,
    'one JSON object on stdout; its schema is InspectReport in the types of the package',
    'with --secrets: silent where there are none',
  )
    .argument('<file>', 'an ELF or Mach-O file; of a fat one every slice is told')
    .option('--steps', 'the restore program of a frozen process, too')
    .addOption(
      new Option('--address <0x…>', 'what is at this address of the file').argParser(text => {
        address = parseAddress(text);
        return text;
      }),
    )
    .option(
      '--secrets',
      `what looks like a credential, not in full; exits with ${EXIT.SECRETS} if there is any`,
    )
    .option('-v, --verbose', 'every region and section of a frozen process; causes of errors')
    .addHelpText(
      'after',
      examplesSection(EXAMPLES) + exitSection(EXIT_MEANINGS.filter(([code]) => INSPECT_EXITS.has(code))),
    );
  const text = readWords(parser, words);
  if (text !== undefined) return text;
  const { steps = false, secrets = false } = parser.opts<{ steps?: boolean; secrets?: boolean }>();
  if ([steps, secrets, address !== undefined].filter(given => given).length > 1) {
    throw new UsageError('--steps, --address and --secrets are three questions', 'ask one at a time');
  }
  const about = secrets ? 'secrets' : address === undefined ? 'file' : 'address';
  return { type: 'inspect', file: parser.args[0] ?? '', about, address, steps };
}

const INSPECT_EXITS: ReadonlySet<number | string> = new Set([
  EXIT.OK,
  EXIT.FAILURE,
  EXIT.USAGE,
  EXIT.SECRETS,
]);

function parseAddress(text: string): bigint {
  if (/^0x[0-9a-f]{1,16}$/i.test(text)) return BigInt(text);
  throw new InvalidArgumentError(`'${text}' is no address; write 0x401136.`);
}

async function runInspect(request: InspectRequest, context: Context): Promise<number> {
  try {
    return await tellWhat(request, context);
  } catch (error) {
    // A file that makes no sense is no fault of ours.
    if (!(error instanceof FormatError)) throw error;
    const { code, message } = error;
    throw new UnexecError(code, `${request.file}: ${message}`, { path: request.file, cause: error });
  }
}

async function tellWhat(request: InspectRequest, context: Context): Promise<number> {
  const { file, steps, about, address = 0n } = request;
  const { manner } = context;
  const style = stdoutStyle();
  if (about === 'secrets') return tellSecrets(file, context);
  const told =
    about === 'address'
      ? tell(followAddress(file, address), report => renderAddress(report, style))
      : tell(inspectFile(file, { steps }), report => renderReport(report, style, manner.verbose));
  if (manner.json) printJson({ ok: true, exitCode: EXIT.OK, ...told.report });
  else printLines(told.lines());
  return EXIT.OK;
}

const tell = <R extends object>(report: R, render: (report: R) => string[]) => ({
  report,
  lines: () => render(report),
});

async function tellSecrets(file: string, { manner, signal }: Context): Promise<number> {
  const progress = progressLine(manner, 'searching');
  const report = await findSecrets(file, {
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  const exitCode = report.count === 0 ? EXIT.OK : EXIT.SECRETS;
  if (manner.json) printJson({ ok: report.count === 0, exitCode, ...report });
  else printLines(renderSecrets(report, stdoutStyle(), manner.quiet));
  return exitCode;
}
