/**
 * «The same result» for a fixture: what it says without interruption, against what it says before its
 * freeze and after its resume together. It gets a directory of its own in each life story, as its first
 * argument, to be left in the state in which the second life is to find it.
 *
 * @module
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { FreezeOptions } from '../../unexec/freeze.ts';
import { compileFixture } from './fixtures.ts';
import { type Frozen, freezeProgram } from './freeze-program.ts';
import { type Outcome, type RunOptions, run } from './run.ts';
import { sandbox } from './sandbox.ts';

export interface Story {
  /** The directory of the frozen life. */
  readonly directory: string;
  readonly frozen: Frozen;
}

export type StoryOptions = Omit<FreezeOptions, 'stdio'> & {
  /** Arguments of gcc. */
  readonly flags?: readonly string[];
};

let count = 0;
let base: string | undefined;

/** Compiles and freezes a fixture, by default where it stops itself. */
export async function freezeFixture(fixture: string, options: StoryOptions = {}): Promise<Story> {
  const { flags, args = [], ...rest } = options;
  const program = compileFixture(fixture, flags);
  const directory = freshDirectory();
  const path = `${directory}.frozen`;
  const frozen = await freezeProgram(program, path, { at: 'stop', ...rest, args: [directory, ...args] });
  return { directory, frozen };
}

/** An empty directory, which goes away with the test process. */
export function freshDirectory(): string {
  base ??= sandbox('same');
  const directory = join(base, `life-${count++}`);
  mkdirSync(directory);
  return directory;
}

/** Freezes and resumes a fixture, and compares with its uninterrupted run. */
export async function sameResult(
  t: ExecutionContext,
  fixture: string,
  options: StoryOptions & { readonly resume?: RunOptions } = {},
): Promise<Outcome> {
  const { resume, ...freezing } = options;
  const program = compileFixture(fixture, options.flags);
  const whole = await run(program, { args: [freshDirectory(), ...(options.args ?? [])] });
  const { frozen } = await freezeFixture(fixture, freezing);
  const second = await run(frozen.path, { timeout: 20_000, ...resume });
  const { status, signal } = second;
  t.deepEqual(
    { said: frozen.written + second.stdout + second.stderr, status, signal },
    { said: whole.stdout + whole.stderr, status: whole.status, signal: whole.signal },
  );
  return second;
}
