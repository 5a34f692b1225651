/**
 * `npm run bench:shared -- [--rounds N]`: what it takes until a library is ready, opened and initialised beside
 * opened as it was frozen, with compact relocations and with plain ones; and how much of the loader's time
 * relocations take. In turns, each in a process of its own; the goal of ten times is for the sample with 100,000
 * objects.
 *
 * @module
 */
import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { compileLibrary, freezeTo, OWN_CXX, use } from '../support/frozen-library.ts';
import { linkWith, timeInLoader } from './relocation-share.ts';
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
const LOADER_HEADER = ['relocation', 'initialised', 'frozen, RELR', 'frozen, RELA', 'RELA / RELR'];
const rows: string[][] = [];
const loaderRows: string[][] = [];
for (const { source, flags, goal } of SAMPLES) {
  const library = compileLibrary(source, flags);
  const name = basename(library);
  const compact = await freezeTo(library, { init: 'urf_init' });
  const plain = await freezeTo(library, { init: 'urf_init', relocations: 'rela' }, `rela-${name}`);
  const files = [library, compact.target, plain.target];
  const linked = files.map((file, i) => linkWith(file, `linked-${i}-${name}`));
  const times = files.map((): number[] => []);
  const cycles = files.map((): number[] => []);
  const shares = files.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, file] of files.entries()) times[i]?.push(await readyAfter(file));
    for (const [i, program] of linked.entries()) {
      const { total, relocation } = await timeInLoader(program);
      cycles[i]?.push(relocation);
      shares[i]?.push(relocation / total);
    }
  }
  const [initialised = 0, relr = 0, rela = 0] = times.map(list => summarize(list).median);
  const ratio = initialised / relr;
  const verdict = goal === undefined ? '' : `at least ${goal}: ${ratio >= goal ? 'met' : 'missed'}`;
  rows.push([name, ms(initialised), ms(relr), ms(rela), formatRatio(ratio), verdict]);
  const [, compactCycles = 0, plainCycles = 0] = cycles.map(list => summarize(list).median);
  const percent = shares.map(list => `${formatNumber(summarize(list).median * 100)} %`);
  loaderRows.push([name, ...percent, formatRatio(plainCycles / compactCycles)]);
}
process.stdout.write(`${formatTable(HEADER, rows)}\n\n`);
process.stdout.write("Share of the loader's time, and time against time:\n");
process.stdout.write(`${formatTable(LOADER_HEADER, loaderRows)}\n`);

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
