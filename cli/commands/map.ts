/**
 * `unexec map [FILE]`: the page map of a file, as a picture, as a page, or in letters.
 *
 * @module
 */
import { extname } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { openTarget } from '../../unexec/target-file.ts';
import {
  command,
  type Example,
  examplesSection,
  exitSection,
  helpSection,
  newParser,
  readWords,
  type Text,
} from '../command.ts';
import { type Context, printJson, printLines, stderrStyle, tellLines } from '../context.ts';
import { UsageError } from '../errors.ts';
import { EXIT, EXIT_MEANINGS } from '../exit-codes.ts';
import { emptyPage, pageWith } from '../map/html.ts';
import { legendOf } from '../map/legend.ts';
import { describeKind } from '../map/map-data.ts';
import { readMap } from '../map/read-map.ts';
import { servePage } from '../map/serve.ts';
import { svgOf } from '../map/svg.ts';
import { textOf } from '../map/text.ts';
import type { Order } from '../map/view.ts';
import { formatBytes, printable } from '../render.ts';

export interface MapRequest {
  readonly type: 'map';
  /** Undefined: the page into which files are dropped. */
  readonly file: string | undefined;
  /** Undefined: served, or letters on stdout. */
  readonly target: string | undefined;
  readonly order: Order;
  readonly serve: boolean;
  /** 0: any that is free. */
  readonly port: number;
}

const EMPTY_PAGE = 'page-map.html';

const SUMMARY = 'draw every page of a file: SVG, a page, or letters';
const DESCRIPTION =
  'Draws the page map of an ELF or Mach-O file: every horizontal line is a page of 4 KiB, every section has a ' +
  'colour. Without a file it writes the page into which any file can be dropped; it reads them in the browser and ' +
  'sends nothing anywhere.';

const EXAMPLES: readonly Example[] = [
  ['unexec map ./report -o report.svg', 'a picture for a document'],
  ['unexec map ./report --memory -o report.html', 'a page with its data inside, in the order of memory'],
  ['unexec map ./report', 'in letters, on the terminal'],
  ['unexec map', `the page for any file: ${EMPTY_PAGE}`],
  ['unexec map --serve', 'the same from http://127.0.0.1, until Ctrl-C'],
];

const FORMATS = [
  'FILE.svg     a picture, for documents',
  'FILE.html    one page: zoom, search, what is where',
  'FILE.txt     letters, as on the terminal',
];

export const MAP = command({ name: 'map', summary: SUMMARY, parse: parseMap, run: runMap });

/** @throws UsageError */
export function parseMap(words: readonly string[]): MapRequest | Text {
  let target: string | undefined;
  let port: number | undefined;
  const parser = newParser('unexec map', DESCRIPTION, 'one JSON object on stdout', 'errors only')
    .argument('[file]', 'an executable, library, object or core; of fat files every slice is drawn')
    .addOption(
      new Option('-o, --output <path>', 'what to write, by its ending').argParser(text => (target = text)),
    )
    .option('--memory', 'in the order of memory instead of the file')
    .option('--serve', 'serve the page to this machine instead of writing it')
    .addOption(
      new Option('--port <number>', 'with --serve: the port; default: any that is free').argParser(
        text => (port = parsePort(text)),
      ),
    )
    .option('-v, --verbose', 'causes of errors')
    .addHelpText(
      'after',
      helpSection('Written is', FORMATS) +
        examplesSection(EXAMPLES) +
        exitSection(EXIT_MEANINGS.filter(([code]) => MAP_EXITS.has(code))),
    );
  const text = readWords(parser, words);
  if (text !== undefined) return text;
  const [file] = parser.args;
  const serve = parser.opts()['serve'] === true;
  if (serve && target !== undefined) throw new UsageError('--serve and -o do not go together', HINT);
  if (port !== undefined && !serve) throw new UsageError('--port is for --serve', HINT);
  if (file === undefined && !serve) target ??= EMPTY_PAGE;
  if (target !== undefined) checkEnding(target, file);
  const order = parser.opts()['memory'] === true ? 'memory' : 'file';
  return { type: 'map', file, target, order, serve, port: port ?? 0 };
}

const HINT = 'unexec map --help tells the options';

const MAP_EXITS: ReadonlySet<number | string> = new Set([EXIT.OK, EXIT.FAILURE, EXIT.USAGE, EXIT.TARGET]);

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError(`'${text}' is no port; write a number up to 65535.`);
}

function checkEnding(target: string, file: string | undefined): void {
  const endings = file === undefined ? ['.html'] : ['.svg', '.html', '.txt'];
  if (endings.includes(extname(target))) return;
  const what =
    file === undefined ? 'without a file there is only the page' : 'its ending says what is written';
  throw new UsageError(`${target} ends with none of ${endings.join(', ')}: ${what}`, HINT);
}

async function runMap(request: MapRequest, { manner, signal }: Context): Promise<number> {
  const { file, target, order, serve, port } = request;
  const isPage = serve || extname(target ?? '') === '.html';
  const embedded =
    file === undefined ? undefined : await readMap(file, { withSymbols: isPage, order, signal });
  const page = (): string => (embedded ? pageWith(embedded, order) : emptyPage());
  if (serve) {
    return servePage(page(), port, signal, url => {
      if (manner.json) printJson({ ok: true, url });
      else printLines([url]);
    });
  }
  if (target === undefined) {
    if (embedded && manner.json) printJson(legendJson(embedded.map, order));
    else if (embedded) printLines(textOf(embedded.map, order));
    return EXIT.OK;
  }
  const text =
    isPage || !embedded
      ? page()
      : extname(target) === '.svg'
        ? svgOf(embedded.map, order)
        : `${textOf(embedded.map, order).join('\n')}\n`;
  await writeText(target, text);
  const bytes = Buffer.byteLength(text);
  if (manner.json) printJson({ ok: true, exitCode: EXIT.OK, target, bytes });
  else if (!manner.quiet) {
    const style = stderrStyle();
    tellLines([`${style.green('written')} ${style.bold(printable(target))}: ${formatBytes(bytes)}`]);
  }
  return EXIT.OK;
}

const legendJson = (map: Parameters<typeof legendOf>[0], order: Order): object => ({
  ok: true,
  exitCode: EXIT.OK,
  name: map.name,
  kind: describeKind(map),
  size: map.size,
  order,
  legend: legendOf(map, order).map(({ part: _, ...row }) => row),
});

async function writeText(path: string, text: string): Promise<void> {
  const target = await openTarget(path, { mode: 0o666 });
  try {
    await target.handle.writeFile(text);
    await target.commit();
  } catch (error) {
    throw target.explain(error);
  } finally {
    await target.abandon();
  }
}
