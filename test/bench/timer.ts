/**
 * Runs timer.c, which does the timing: whole runs of commands that take turns.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { ROOT } from '../support/sandbox.ts';

/** A command to time. A `server` stays warm and forks for each request (timer.c has the protocol). */
export interface TimedCommand {
  /** Program and arguments, the program as an absolute path. */
  readonly words: readonly string[];
  readonly server?: boolean;
}

export interface Samples {
  readonly microseconds: readonly number[];
  /** Minor page faults of the last run, -1 where they are not known. */
  readonly faults: number;
}

export interface Rounds {
  readonly rounds: number;
  /** Rounds that are thrown away. */
  readonly warmUps: number;
  /** Microseconds a command: slow ones sit out rounds. */
  readonly budget: number;
}

/** Times commands in turn, a result each, in the same order. */
export type Timer = (commands: readonly TimedCommand[], rounds: Rounds) => Samples[];

/** Compiles the timer into a directory. `env` is the whole environment of what it starts. */
export function makeTimer(directory: string, env: Readonly<Record<string, string>>): Timer {
  const program = join(directory, 'timer');
  compileTo(program, join(ROOT, 'test/bench/timer.c'), ['-O2']);
  return (commands, { rounds, warmUps, budget }) => {
    const plan = commands.map(({ words, server }) => [server === true ? 'ask' : 'run', ...words].join('\t'));
    const { status, stdout, stderr } = spawnSync(program, [`${rounds}`, `${warmUps}`, `${budget}`], {
      input: `${plan.join('\n')}\n`,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      env,
    });
    if (status !== 0) throw new Error(stderr === '' ? `timer ended with status ${status}` : stderr.trim());
    return JSON.parse(stdout);
  };
}
