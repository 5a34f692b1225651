/**
 * Dumps of the state at the freeze point: ours, and those of gcore and CRIU beside it.
 *
 * @module
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileTo } from '../support/compile.ts';
import { ROOT } from '../support/sandbox.ts';
import { FREEZE_CHILD, type FreezeJob } from './freeze-child.ts';
import type { DumpResult, FreezeResult } from './measurements.ts';

export type Env = Readonly<Record<string, string>>;

/** Freezes in a process of its own. @throws Error with what it had to say */
export function freezeApart(job: FreezeJob): FreezeResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [FREEZE_CHILD, JSON.stringify(job)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status !== 0) throw new Error(`freezing ${job.words.join(' ')}: status ${status}\n${stderr}`);
  return JSON.parse(stdout);
}

/** Dumps with gdb's gcore. The whole command is timed, gdb's own start included. */
export async function gcore(words: readonly string[], directory: string, env: Env): Promise<DumpResult> {
  return withStopped(words, env, pid => {
    const prefix = join(directory, 'gcore');
    const path = `${prefix}.${pid}`;
    try {
      const milliseconds = timed(['/usr/bin/gcore', '-o', prefix, `${pid}`]);
      if (typeof milliseconds === 'string') return { none: milliseconds };
      return { milliseconds, ...sizes([path]) };
    } finally {
      rmSync(path, { force: true });
    }
  });
}

/** Runs a program to where it stops itself, and kills it after the visit. */
export async function withStopped<T>(
  words: readonly string[],
  env: Env,
  visit: (pid: number) => T,
): Promise<T> {
  const [program = '', ...args] = words;
  // A session of its own, as CRIU wants it.
  const child = spawn(program, args, { stdio: 'ignore', env, detached: true });
  try {
    return visit(await stopped(child, words));
  } finally {
    child.kill('SIGKILL');
  }
}

async function stopped(child: ChildProcess, words: readonly string[]): Promise<number> {
  for (;;) {
    const { pid } = child;
    if (pid === undefined || child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${words.join(' ')}: ended before it stopped`);
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    if (stat[stat.lastIndexOf(')') + 2] === 'T') return pid;
    await sleep(5);
  }
}

/** Milliseconds of a whole command, or what its last line said when it failed. */
export function timed([program = '', ...args]: readonly string[]): number | string {
  const start = performance.now();
  const { status, stderr, error } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  const milliseconds = performance.now() - start;
  if (status === 0) return milliseconds;
  return error?.message ?? lastLine(stderr) ?? `${program}: status ${status}`;
}

const lastLine = (text: string): string | undefined => text.trimEnd().split('\n').at(-1) || undefined;

/** Size and disk space of files, and of the files in directories. */
export function sizes(paths: readonly string[]): { fileSize: number; diskBytes: number } {
  let [fileSize, diskBytes] = [0, 0];
  for (const path of paths) {
    const stat = statSync(path);
    const inside = stat.isDirectory()
      ? sizes(readdirSync(path).map(name => join(path, name)))
      : { fileSize: stat.size, diskBytes: stat.blocks * 512 };
    fileSize += inside.fileSize;
    diskBytes += inside.diskBytes;
  }
  return { fileSize, diskBytes };
}

/** Room beside the program itself: its dump, and what the tools need. */
const WARM_MIB = 512;

/**
 * Makes the memory ready that a dump of a program will take (warm-memory.c), and writes out what earlier
 * ones left to be written: a dump should not pay for either.
 */
export function makeWarmer(directory: string): (programBytes: number) => void {
  const program = join(directory, 'warm-memory');
  compileTo(program, join(ROOT, 'test/bench/warm-memory.c'), ['-O2']);
  return programBytes => {
    execFileSync('/bin/sync');
    execFileSync(program, [`${Math.ceil((2 * programBytes) / 2 ** 20) + WARM_MIB}`]);
  };
}
