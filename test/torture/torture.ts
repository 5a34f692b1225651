/**
 * Freezes a deterministic program at random moments, runs what was written, and compares: output of the
 * first life up to the freeze and output of the second life must be the output of one uninterrupted run,
 * and so must the exit status. A moment is a time, or the n-th system call of all threads.
 *
 * @module
 */
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { UnexecError } from '../../unexec/errors.ts';
import { freeze } from '../../unexec/freeze.ts';
import { PATH, run } from '../support/run.ts';
import type { TortureProgram } from './programs.ts';

/** What an uninterrupted run said, and how long it took. */
export interface Expected {
  readonly written: string;
  readonly status: number | null;
  readonly milliseconds: number;
}

export interface TortureResult {
  readonly at: string;
  /** `ended`: the program was through before this moment, which is no failure. */
  readonly outcome: 'same' | 'ended' | 'failed';
  /** What went wrong, where something did. */
  readonly detail: string;
}

/** Runs the program alone, three times: the same each time, or it proves nothing. */
export async function expectedOf(program: TortureProgram, directory: string): Promise<Expected> {
  let expected: Expected | undefined;
  for (let i = 0; i < 3; i++) {
    const startedAt = performance.now();
    const { written, status, signal } = await runInto(
      join(directory, 'expected'),
      program.program,
      program.args,
    );
    const milliseconds = performance.now() - startedAt;
    if (signal !== null) throw new Error(`${program.name} ended by ${signal}: ${written}`);
    if (expected !== undefined && (expected.written !== written || expected.status !== status)) {
      throw new Error(`${program.name} says something else each time; it proves nothing`);
    }
    expected = { written, status, milliseconds };
  }
  if (expected === undefined) throw new Error('not run');
  return expected;
}

/** Draws freeze points; once the program was seen to end before a system call, none beyond is drawn. */
export class Moments {
  readonly #random: () => number;
  readonly #milliseconds: number;
  #syscalls = 2000;

  constructor(random: () => number, expected: Expected) {
    this.#random = random;
    this.#milliseconds = expected.milliseconds;
  }

  next(): string {
    if (this.#random() < 0.5) return `time:${(this.#random() * this.#milliseconds * 1.2).toFixed(3)}ms`;
    return `syscall:${1 + Math.floor(this.#random() * this.#syscalls)}`;
  }

  /** Learns from a result. */
  learn({ at, outcome }: TortureResult): void {
    const count = /^syscall:(\d+)$/.exec(at)?.[1];
    if (outcome === 'ended' && count !== undefined) this.#syscalls = Math.min(this.#syscalls, Number(count));
  }
}

/** Freezes at one moment and compares. */
export async function tortureAt(
  program: TortureProgram,
  at: string,
  expected: Expected,
  directory: string,
): Promise<TortureResult> {
  const image = join(directory, 'image');
  const firstPath = join(directory, 'first');
  const input = openSync('/dev/null', 'r');
  const output = openSync(firstPath, 'w');
  try {
    await freeze(program.program, image, { args: program.args, at, stdio: [input, output, output] });
  } catch (error) {
    if (error instanceof UnexecError && error.code === 'ENDED_BEFORE_FREEZE_POINT') {
      return { at, outcome: 'ended', detail: '' };
    }
    return { at, outcome: 'failed', detail: `not frozen: ${explain(error)}` };
  } finally {
    closeSync(input);
    closeSync(output);
  }
  const first = readFileSync(firstPath, 'latin1');
  const second = await runInto(join(directory, 'second'), image, []);
  rmSync(image);
  const both = first + second.written;
  const { status, signal } = second;
  if (both === expected.written && status === expected.status && signal === null) {
    return { at, outcome: 'same', detail: '' };
  }
  const end = signal === null ? `exit status ${status}, expected ${expected.status}` : `ended by ${signal}`;
  return {
    at,
    outcome: 'failed',
    detail: `${end}; ${firstDifference(both, expected.written)}; the first life wrote ${first.length} bytes`,
  };
}

/** xorshift32: the same moments for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

async function runInto(
  path: string,
  program: string,
  args: readonly string[],
): Promise<{ written: string; status: number | null; signal: string | null }> {
  const output = openSync(path, 'w');
  try {
    const { status, signal } = await run(program, { args, output, env: { PATH }, timeout: 20_000 });
    return { written: readFileSync(path, 'latin1'), status, signal };
  } finally {
    closeSync(output);
  }
}

function explain(error: unknown): string {
  if (!(error instanceof UnexecError)) return String(error instanceof Error ? error.stack : error);
  const reasons = error.reasons.map(({ code, what }) => `${code} ${what}`);
  return [error.code, error.message, ...reasons].join('; ');
}

function firstDifference(a: string, b: string): string {
  if (a === b) return 'the same output';
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 40);
  const piece = (text: string): string => JSON.stringify(text.slice(from, at + 80));
  return `output differs at byte ${at}: ${piece(a)}, expected ${piece(b)}`;
}
