/**
 * `npm run bench:shared -- [--rounds N]`: what it takes until a library is ready, opened and initialised beside
 * opened as it was frozen, with compact relocations and with plain ones. In turns, each in a process of its own;
 * the goal of ten times is for the sample with 100,000 objects.
 *
 * @module
 */
import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { compileLibrary, freezeTo, OWN_CXX, use } from '../support/frozen-library.ts';
import { summarize } from './statistics.ts';
import { formatNumber, formatRatio, formatTable } from './table.ts';

const SAMPLES = [
  { source: 'samples/shared/world.c', flags: ['-O2'], goal: 10 },
  { source: 'samples/shared/shapes.cc', flags: ['-O2', ...OWN_CXX], goal: undefined },
] as const;

const { rounds } = new Command('bench:shared')
  .option('--rounds <n>', 'runs of each', count, 20)
  .parse()
  .opts<{ rounds: number }>();

const HEADER = ['library', 'initialised', 'frozen, RELR', 'frozen, RELA', 'faster', 'goal'];
const rows: string[][] = [];
for (const { source, flags, goal } of SAMPLES) {
  const library = compileLibrary(source, flags);
  const name = basename(library);
  const compact = await freezeTo(library, { init: 'urf_init' });
  const plain = await freezeTo(library, { init: 'urf_init', relocations: 'rela' }, `rela-${name}`);
  const files = [library, compact.target, plain.target];
  const times = files.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, file] of files.entries()) times[i]?.push(await readyAfter(file));
  }
  const [initialised = 0, relr = 0, rela = 0] = times.map(list => summarize(list).median);
  const ratio = initialised / relr;
  const verdict = goal === undefined ? '' : `at least ${goal}: ${ratio >= goal ? 'met' : 'missed'}`;
  rows.push([name, ms(initialised), ms(relr), ms(rela), formatRatio(ratio), verdict]);
}
process.stdout.write(`${formatTable(HEADER, rows)}\n`);

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('a number from 1 on is expected');
  return Number(text);
}

/** Milliseconds from before dlopen to the return of the initialiser, as the program itself sees it. */
async function readyAfter(library: string): Promise<number> {
  const { stderr, status } = await use('init', library);
  if (status !== 0) throw new Error(`${library}: ${stderr}`);
  return Number(stderr);
}

function ms(milliseconds: number): string {
  return `${formatNumber(milliseconds)} ms`;
}
