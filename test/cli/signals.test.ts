/**
 * The command is ended at any moment, by signals that it handles and by SIGKILL: the old target stays
 * whole, or the new one is there, and no process is left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { COMMAND, unexec } from '../support/command.ts';
import { PATH, run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const base = sandbox('signals');

/** A program that takes a while to start, and needs a while to be written; `word` is its whole result. */
const SCRIPT = '$x = "x" x (48 << 20); $y = $_ for 1 .. 300_000; kill STOP => $$; print shift';
const freezeArguments = (target: string, word: string): string[] => [
  COMMAND,
  '/usr/bin/perl',
  target,
  '--',
  '-e',
  SCRIPT,
  word,
];

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null; stderr: string }>;
}

function start(args: readonly string[]): Started {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH } });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Awaited<Started['ended']>>(resolve => {
    child.on('exit', (status, signal) => setTimeout(() => resolve({ status, signal, stderr }), 20));
  });
  return { child, ended };
}

/** Processes that have `word` as an argument, or whose state says that nobody has waited for them. */
function processesWith(word: string): string[] {
  return readdirSync('/proc').filter(name => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(word);
    } catch {
      return false;
    }
  });
}

async function noneLeft(word: string): Promise<string[]> {
  for (let i = 0; i < 300 && processesWith(word).length > 0; i++) await sleep(10);
  return processesWith(word);
}

async function newDirectory(name: string): Promise<{ directory: string; target: string }> {
  const directory = join(base, name);
  mkdirSync(directory);
  const target = join(directory, 'out');
  const { status, stderr } = await unexec(freezeArguments(target, `old-${name}`).slice(1));
  if (status !== 0) throw new Error(stderr);
  return { directory, target };
}

test.serial('unexec that is killed at any moment leaves a whole target and no process', async t => {
  const { directory, target } = await newDirectory('kill');
  const before = performance.now();
  await start(freezeArguments(join(directory, 'timed'), 'timed')).ended;
  const duration = performance.now() - before;
  const moments = 24;
  const seen = new Map<string, number>();
  for (let i = 0; i < moments; i++) {
    // Spread over the whole run, with a random part; the last ones are beyond its end.
    const delay = ((i + Math.random()) / moments) * duration * 1.2;
    const word = `new-kill-${i}`;
    const { child, ended } = start(freezeArguments(target, word));
    await sleep(delay);
    child.kill('SIGKILL');
    await ended;
    t.deepEqual(await noneLeft(word), [], `a process is left, killed after ${delay} ms`);
    const { stdout, status, stderr } = await run(target, { args: [] });
    t.is(status, 0, `killed after ${delay} ms: ${stderr}`);
    t.regex(stdout, /^(old-kill|new-kill-\d+)$/, `killed after ${delay} ms`);
    seen.set(stdout, (seen.get(stdout) ?? 0) + 1);
  }
  t.true(seen.has('old-kill'), 'some were killed before the end');
  // What could not be removed by the killed ones, the next one removes.
  t.is((await unexec(freezeArguments(target, 'last').slice(1))).status, 0);
  t.deepEqual(readdirSync(directory).sort(), ['out', 'timed']);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test.serial(`unexec that gets ${signal} exits with its status and leaves nothing`, async t => {
    const { directory, target } = await newDirectory(signal);
    const old = readFileSync(target);
    let interrupted = 0;
    for (const delay of [150, 200, 250, 300, 350, 400, 600, 900, 1400]) {
      const word = `new-${signal}-${delay}`;
      const { child, ended } = start(freezeArguments(target, word));
      await sleep(delay);
      child.kill(signal);
      const outcome = await ended;
      t.deepEqual(await noneLeft(word), []);
      t.deepEqual(readdirSync(directory), ['out'], `${signal} after ${delay} ms`);
      // Too early (Node has not started) or too late.
      if (outcome.signal === signal || outcome.status === 0) continue;
      interrupted++;
      t.is(outcome.status, 128 + constants.signals[signal], outcome.stderr);
      t.is(outcome.stderr, `unexec: interrupted by ${signal}\n`);
      t.true(readFileSync(target).equals(old), 'the old target has changed');
    }
    t.true(interrupted > 0, 'no moment was right');
  });
}

test.serial('unexec that gets SIGINT while the program runs on kills it', async t => {
  const directory = join(base, 'waiting');
  mkdirSync(directory);
  const word = 'waiting-for-nothing';
  const { child, ended } = start([
    COMMAND,
    '--json',
    '/usr/bin/perl',
    join(directory, 'out'),
    '--',
    '-e',
    'print STDERR "up\n"; sleep 1000',
    word,
  ]);
  await new Promise(resolve => child.stderr?.once('data', resolve));
  child.kill('SIGINT');
  t.is((await ended).status, 130);
  t.deepEqual(await noneLeft(word), []);
  t.deepEqual(readdirSync(directory), []);
});

test.serial("unexec that shares a terminal's ^C with its program exits with 130", async t => {
  const directory = join(base, 'group');
  mkdirSync(directory);
  const { child, ended } = start([
    COMMAND,
    '/usr/bin/perl',
    join(directory, 'out'),
    '--',
    '-e',
    'print STDERR "up\n"; sleep 1000',
    'in-our-group',
  ]);
  await new Promise(resolve => child.stderr?.once('data', resolve));
  // First the program dies of it, as it may on a terminal, then the command hears of it.
  for (const pid of processesWith('in-our-group')) {
    if (Number(pid) !== child.pid) process.kill(Number(pid), 'SIGINT');
  }
  child.kill('SIGINT');
  t.is((await ended).status, 130);
  t.deepEqual(await noneLeft('in-our-group'), []);
});
