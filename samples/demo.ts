/**
 * `npm run demo`: a perl that has loaded four modules becomes an executable, which is run with two lists
 * of arguments; then its start is timed beside perl's own. The commands are shown as they are run.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMMAND = join(ROOT, 'build/cli/main.js');
/** The script's path as a user would write it. */
const SCRIPT = 'samples/greet.pl';
const ROUNDS = 15;
/** Runs in one round: a shell starts them, because that costs far less than Node's spawn. */
const RUNS = 10;
const REPEAT = `i=0; while [ $i -lt ${RUNS} ]; do "$@" || exit; i=$((i + 1)); done`;

const isTerminal = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
const bold = (text: string): string => (isTerminal ? styleText('bold', text) : text);
const dim = (text: string): string => (isTerminal ? styleText('dim', text) : text);

process.chdir(ROOT);
const directory = mkdtempSync(join(tmpdir(), 'unexec-demo-'));
const greet = join(directory, 'greet');
try {
  say('A perl script that loads POSIX, Encode, Storable and JSON::PP, and then stops itself. One run of the');
  process.stdout.write(bold('result, with --train, shows which memory is best read at the start\n'));
  show('unexec', process.execPath, [COMMAND, '--train', 'Ada', '/usr/bin/perl', greet, '--', SCRIPT]);
  say('What was written goes on behind that line, with the arguments that it is given');
  show(greet, greet, ['Ada', 'Grace']);
  show(greet, greet, ['世界']);
  say(`The same work, ${ROUNDS * RUNS} times each in turn, from start to exit (median)`);
  compare();
} finally {
  rmSync(directory, { recursive: true });
}

function say(text: string): void {
  process.stdout.write(`\n${bold(text)}\n`);
}

/** Shows a command under the name that a user types, and runs it. */
function show(name: string, program: string, args: readonly string[]): void {
  const typed = [name, ...(args[0] === COMMAND ? args.slice(1) : args)].join(' ');
  process.stdout.write(`${dim('$')} ${typed}\n`);
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${typed}: exit status ${status}`);
}

function compare(): void {
  const own = { command: ['/usr/bin/perl', SCRIPT, '--run', 'Ada'], times: [] as number[] };
  const frozen = { command: [greet, 'Ada'], times: [] as number[] };
  // In turn, so that whatever else the machine does meanwhile hits both alike.
  for (let i = 0; i < ROUNDS; i++) {
    for (const { command, times } of [own, frozen]) times.push(time(command));
  }
  const [slow, fast] = [median(own.times), median(frozen.times)];
  const row = (name: string, ms: number): string => `  ${name.padEnd(24)}${ms.toFixed(2).padStart(8)} ms\n`;
  process.stdout.write(row('perl starts by itself', slow) + row('the executable', fast));
  process.stdout.write(`  ${bold(`${(slow / fast).toFixed(1)} times faster`)}\n\n`);
}

/** Milliseconds from start to exit, the mean of one round. */
function time(command: readonly string[]): number {
  const startedAt = performance.now();
  const { status } = spawnSync('/bin/sh', ['-c', REPEAT, 'sh', ...command], { stdio: 'ignore' });
  const elapsed = performance.now() - startedAt;
  if (status !== 0) throw new Error(`${command.join(' ')}: exit status ${status}`);
  return elapsed / RUNS;
}

function median(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
