/**
 * `npm run bench -- [--only perl,python] [--rounds N] [--quick] [--json FILE]`: what a resume costs beside
 * a program's own start, a fork of it, its runtime's own saved image and CRIU. Everything is measured in
 * one session, in turns. Prints tables; goals that are missed do not change the exit status.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { compileTo } from '../support/compile.ts';
import { PATH, run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';
import { type Criu, criuDump, findCriu } from './criu.ts';
import { freezeApart, gcore, makeWarmer } from './dumps.ts';
import { isFirstInstruction, judge, storedSpeed } from './goals.ts';
import { availableMemory, describeMachine } from './machine.ts';
import {
  COLUMNS,
  type Column,
  FORMS,
  type Form,
  type FormResult,
  type FreezeResult,
  type Measurements,
  type Row,
  type Timing,
} from './measurements.ts';
import { benchPrograms, neededMemory, type Program } from './programs.ts';
import { formatReport } from './report.ts';
import { summarize } from './statistics.ts';
import { makeTimer, type Rounds, type Samples, type TimedCommand, type Timer } from './timer.ts';

interface Options {
  readonly only?: readonly string[];
  readonly rounds: number;
  readonly quick: boolean;
  readonly json?: string;
}

/** A program with all that was made of it, ready to be timed. */
interface Prepared {
  readonly program: Program;
  readonly commands: Readonly<Record<Column, TimedCommand | { readonly none: string }>>;
  readonly forms: Readonly<Record<Form, { readonly command: TimedCommand; readonly diskBytes: number }>>;
  readonly dumps: Pick<Row, 'freeze' | 'gcore' | 'criuDump'>;
}

/** What all programs are prepared with. */
interface Setting {
  readonly criu: Criu;
  readonly warm: (programBytes: number) => void;
  readonly quick: boolean;
}

const directory = sandbox('bench');
const ENV = { PATH, HOME: directory, LANG: 'C.UTF-8', TERM: 'dumb' };
/** Each pass visits all programs: what drifts over minutes, drifts for all of them. */
const PASSES = 2;
const LEFT_OUT_OF_QUICK = new Set(['heap-spread']);

const options = parseOptions();
const machine = describeMachine();
const measurements: Measurements = { machine, ...(await bench(chosenPrograms(options), options)) };
if (options.json !== undefined) {
  const all = { ...measurements, goals: judge(measurements) };
  writeFileSync(options.json, `${JSON.stringify(all, undefined, 2)}\n`);
}
process.stdout.write(formatReport(measurements));

function parseOptions(): Options {
  const count = (text: string): number => {
    if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('a number from 1 on is expected');
    return Number(text);
  };
  return new Command('bench')
    .option('--only <programs>', 'measure only these, by name', text => text.split(','))
    .option('--rounds <n>', 'most runs of each command in each of two passes', count, 200)
    .option('--quick', 'one short pass', false)
    .option('--json <file>', 'write all figures to a file')
    .parse()
    .opts();
}

function chosenPrograms({ only, quick }: Options): Program[] {
  const all = benchPrograms(directory).filter(({ id }) => !quick || !LEFT_OUT_OF_QUICK.has(id));
  const unknown = only?.filter(name => all.every(({ id }) => id !== name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`no program ${unknown.join(', ')} here, but ${all.map(({ id }) => id).join(', ')}`);
  }
  const chosen = all.filter(({ id }) => only?.includes(id) ?? true);
  if (neededMemory(chosen) <= availableMemory()) return chosen;
  say('there is not enough free memory for the large programs: they are left out');
  return chosen.filter(({ memory = 0 }) => memory < 2 ** 29);
}

async function bench(programs: readonly Program[], { rounds, quick }: Options) {
  const nothing = join(directory, 'nothing');
  compileTo(nothing, join(ROOT, 'test/bench/programs/nothing.c'), ['-nostdlib', '-static', '-O2']);
  const timer = makeTimer(directory, ENV);
  const criu = findCriu(directory);
  const warm = makeWarmer(directory);
  const prepared: Prepared[] = [];
  for (const program of programs) prepared.push(await prepare(program, { criu, warm, quick }));

  const pass: Rounds = quick
    ? { rounds: Math.min(rounds, 40), warmUps: 2, budget: 300_000 }
    : { rounds, warmUps: 3, budget: 1_200_000 };
  const samples = new Map<TimedCommand, Samples[]>();
  const floor: TimedCommand = { words: [nothing] };
  for (let i = 0; i < (quick ? 1 : PASSES); i++) {
    for (const one of prepared.filter(one => !isShort(one))) {
      say(`timing ${one.program.id}`);
      time(timer, timedCommands(one), pass, samples);
    }
    const shortest = prepared.filter(isShort);
    say(`timing ${['exec', ...shortest.map(({ program }) => program.id)].join(', ')}`);
    time(timer, [floor, ...shortest.flatMap(timedCommands)], pass, samples);
  }
  return {
    floor: summarizeAll(samples.get(floor) ?? []),
    rows: prepared.map(({ program: { id, title }, commands, forms, dumps }): Row => {
      const timing = (column: Column): Timing => {
        const command = commands[column];
        return 'none' in command ? command : summarizeAll(samples.get(command) ?? []);
      };
      const times = mapColumns(timing);
      const formResult = (form: Form): FormResult => {
        const { command, diskBytes } = forms[form];
        return { timing: summarizeAll(samples.get(command) ?? []), diskBytes };
      };
      return { id, title, times, forms: mapForms(formResult), ...dumps };
    }),
  };
}

/**
 * What is compared takes turns: the columns of a program, and the shortest programs with each other and
 * with the floor.
 */
function isShort({ program: { id } }: Prepared): boolean {
  return isFirstInstruction(id);
}

function timedCommands({ commands, forms }: Prepared): TimedCommand[] {
  return [
    ...COLUMNS.map(column => commands[column]).filter(command => 'words' in command),
    ...FORMS.map(form => forms[form].command),
  ];
}

function time(
  timer: Timer,
  commands: readonly TimedCommand[],
  rounds: Rounds,
  samples: Map<TimedCommand, Samples[]>,
): void {
  const results = timer(commands, rounds);
  for (const [i, command] of commands.entries()) {
    const result = results[i];
    if (result !== undefined) samples.set(command, [...(samples.get(command) ?? []), result]);
  }
}

function summarizeAll(samples: readonly Samples[]) {
  const faults = samples.at(-1)?.faults ?? -1;
  return {
    ...summarize(samples.flatMap(({ microseconds }) => microseconds)),
    faults: faults < 0 ? undefined : faults,
  };
}

function mapColumns<T>(value: (column: Column) => T): Record<Column, T> {
  return {
    start: value('start'),
    resumed: value('resumed'),
    trained: value('trained'),
    fork: value('fork'),
    saved: value('saved'),
    criu: value('criu'),
  };
}

function mapForms<T>(value: (form: Form) => T): Record<Form, T> {
  return { thin: value('thin'), compressed: value('compressed'), both: value('both') };
}

async function prepare(program: Program, { criu, warm, quick }: Setting): Promise<Prepared> {
  say(`freezing ${program.id}`);
  const words = program.command('freeze');
  const path = (suffix: string): string => join(directory, `${program.id}.${suffix}`);
  const env = Object.entries(ENV).map(([name, value]) => `${name}=${value}`);
  const job = { words, target: path('resumed'), env, train: false };
  const { memory = 0 } = program;
  const freezes = Array.from({ length: quick ? 2 : 4 }, () => {
    warm(memory);
    return freezeApart(job);
  });
  const trained = path('trained');
  if (program.untrained === undefined) freezeApart({ ...job, target: trained, train: true });

  const forms = mapForms(form => {
    const options = { thin: form !== 'compressed', compress: form !== 'thin' };
    warm(memory);
    const { diskBytes } = freezeApart({ ...job, target: path(form), ...options });
    return { command: { words: [path(form)] }, diskBytes };
  });

  say(`dumping ${program.id} otherwise`);
  warm(memory);
  const restored = await criuDump(criu, words, path('criu'), ENV);
  const commands: Prepared['commands'] = {
    start: { words: program.command('start') },
    resumed: { words: [job.target] },
    trained: program.untrained === undefined ? { words: [trained] } : { none: program.untrained },
    fork: forkCommand(program),
    saved: 'none' in program.save ? program.save : program.save(path('saved')),
    criu: restored.restore,
  };
  if (program.prints) await checkSame(program, { ...commands, ...mapForms(form => forms[form].command) });
  warm(memory);
  return {
    program,
    commands,
    forms,
    dumps: {
      freeze: typicalFreeze(freezes),
      gcore: await gcore(words, directory, ENV),
      criuDump: restored.dump,
    },
  };
}

function forkCommand(program: Program): TimedCommand | { none: string } {
  switch (program.fork) {
    case 'itself':
      return { words: program.command('fork'), server: true };
    case 'at stop': {
      const library = join(directory, 'fork-at-stop.so');
      compileTo(library, join(ROOT, 'test/bench/fork-at-stop.c'), ['-shared', '-fPIC', '-O2']);
      return { words: ['/usr/bin/env', `LD_PRELOAD=${library}`, ...program.command('freeze')], server: true };
    }
    default:
      return program.fork;
  }
}

/** Of all but the first, which warms up: the one whose speed is in the middle. */
function typicalFreeze(freezes: readonly FreezeResult[]): FreezeResult {
  const sorted = freezes.slice(1).sort((a, b) => storedSpeed(a) - storedSpeed(b));
  const typical = sorted[(sorted.length - 1) >> 1];
  if (typical === undefined) throw new RangeError('no freeze after the first one');
  return { ...typical, peakMemory: Math.max(...freezes.map(({ peakMemory }) => peakMemory)) };
}

/** A comparison of different work would say nothing: all ways must print the same. */
async function checkSame(
  { id }: Program,
  commands: Prepared['commands'] & Readonly<Record<Form, TimedCommand>>,
): Promise<void> {
  const outputs = new Map<string, string>();
  for (const column of ['start', 'resumed', 'trained', 'saved', ...FORMS] as const) {
    const command = commands[column];
    if ('none' in command) continue;
    const [program = '', ...args] = command.words;
    const { stdout, stderr, status } = await run(program, { args, env: ENV, cwd: directory });
    if (status !== 0 || stdout === '') throw new Error(`${id}, ${column}: status ${status}\n${stderr}`);
    outputs.set(stdout, column);
  }
  if (outputs.size > 1) {
    throw new Error(`${id}: not all say the same: ${JSON.stringify(Object.fromEntries(outputs))}`);
  }
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}
