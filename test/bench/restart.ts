/**
 * `npm run bench:restart -- [--rounds N]`: a Lua with 400,000 entries in a table, its own start beside a restart:
 * position-independent with plain relocations and with compact ones, and linked to its address, where pointers
 * are right as they are written. Once up to its first line, which looks a word up and ends it, and once with a
 * collection of garbage, which goes through all of the heap in any case. In turns, whole runs; the loader's share is
 * what it says itself.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { prepare, restart } from '../../unexec/index.ts';
import { compileTo } from '../support/compile.ts';
import { PATH } from '../support/run.ts';
import { RUNTIME_SOURCE } from '../support/runtime.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';
import { type LoaderTime, timeInLoader } from './relocation-share.ts';
import { summarize } from './statistics.ts';
import { formatMib, formatMilliseconds, formatNumber, formatRatio, formatTable } from './table.ts';
import { makeTimer, type TimedCommand } from './timer.ts';

const WAYS = [
  { name: 'PIE, RELA', flags: ['-pie', '-fPIE'] },
  { name: 'PIE, RELR', flags: ['-pie', '-fPIE', '-Wl,-z,pack-relative-relocs'] },
  { name: '-no-pie', flags: ['-no-pie', '-fno-pie'] },
] as const;
/** Runs that are alike (samples/restart/interpreters/lua.c). */
const LUA = [
  '-DFIXED_SEED',
  '-Wl,--wrap=luaS_hash',
  '-I/usr/include/lua5.4',
  '-l:liblua5.4.a',
  '-lm',
  '-ldl',
];
const LOAD = `words = {} for i = 1, 200000 do words[i] = 'word ' .. i words['word ' .. i] = i end`;
const READY = `os.exit(words['word 777'] == 777)`;
const COLLECT = `collectgarbage() ${READY}`;
const USES = [READY, COLLECT];

const { rounds } = new Command('bench:restart')
  .option('--rounds <n>', 'runs of each', count, 20)
  .parse()
  .opts<{ rounds: number }>();

const directory = sandbox('bench-restart');
const commands: TimedCommand[] = [];
for (const { name, flags } of WAYS) {
  const program = join(directory, name.replace(/\W+/g, '-'));
  compileTo(program, join(ROOT, 'samples/restart/interpreters/lua.c'), [
    RUNTIME_SOURCE,
    '-w',
    ...flags,
    ...LUA,
  ]);
  await prepare(program, `${program}.prepared`, { reserve: 256 << 20 });
  const restarted = `${program}.restart`;
  await restart(`${program}.prepared`, restarted, { at: 'request', args: [LOAD] });
  for (const use of USES) commands.push({ words: [program, LOAD, use] }, { words: [restarted, use] });
}

const samples = makeTimer(directory, { PATH })(commands, { rounds, warmUps: 2, budget: 60_000_000 });
const times = samples.map(({ microseconds }) => summarize(microseconds).median);
const HEADER = ['lua', 'own start', 'restarted', 'faster', 'page faults', 'collecting', 'relocation', 'file'];
const rows = [];
for (const [i, { name }] of WAYS.entries()) {
  const first = 2 * USES.length * i;
  const [own = 0, again = 0, ownCollecting = 0, againCollecting = 0] = times.slice(first);
  const file = commands[first + 1]?.words[0] ?? '';
  rows.push([
    name,
    `${formatMilliseconds(own)} ms`,
    `${formatMilliseconds(again)} ms`,
    formatRatio(own / again),
    `${samples[first + 1]?.faults}`,
    formatRatio(ownCollecting / againCollecting),
    `${formatNumber(await relocationShare(file))} % of loading`,
    `${formatMib(statSync(file).size)} MiB`,
  ]);
}
process.stdout.write(`${formatTable(HEADER, rows)}\n`);

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('a number from 1 on is expected');
  return Number(text);
}

async function relocationShare(program: string): Promise<number> {
  const all: LoaderTime[] = [];
  for (let i = 0; i < rounds; i++) all.push(await timeInLoader(program));
  return summarize(all.map(({ total, relocation }) => (relocation / total) * 100)).median;
}
