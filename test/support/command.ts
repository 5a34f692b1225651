/**
 * The `unexec` command as a user runs it, in a process of its own.
 *
 * @module
 */
import { join } from 'node:path';
import { type Outcome, type RunOptions, run } from './run.ts';
import { ROOT } from './sandbox.ts';

/** Path of the command's script. */
export const COMMAND: string = join(ROOT, 'build/cli/main.js');

/** Runs `unexec` with these arguments, stdin from /dev/null. */
export const unexec = (args: readonly string[], options: Omit<RunOptions, 'args'> = {}): Promise<Outcome> =>
  run(process.execPath, { ...options, args: [COMMAND, ...args] });

/** Arguments that freeze a perl which stops itself, and then runs `code`. */
export const perlArguments = (target: string, code: string): readonly string[] => [
  '/usr/bin/perl',
  target,
  '--',
  '-e',
  `kill STOP => $$; ${code}`,
];
