/**
 * Runs hand-written restore programs for real: an executable of nothing but the restorer and the
 * program, built as that of a frozen process is.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { elfBytes } from '../../formats/elf/index.ts';
import { RestoreProgram } from '../../unexec/restorer/program.ts';
import { buildExecutable } from '../../unexec/styles/resume/executable.ts';
import { chooseWindow, type Window } from '../../unexec/styles/resume/window.ts';
import { PATH } from './run.ts';
import { sandbox } from './sandbox.ts';
import { imageOf } from './synthetic-image.ts';

export const PREFIX = 'cannot resume: ';

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RestoreOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

let directory: string | undefined;
let count = 0;

/** Builds the program that `plan` describes, and runs it to its end. */
export function runRestore(
  plan: (program: RestoreProgram, window: Window) => void,
  { args = [], env = { PATH } }: RestoreOptions = {},
): Ended {
  directory ??= sandbox('restore');
  const path = join(directory, `program-${count++}`);
  writeFileSync(path, restoreExecutable(plan), { mode: 0o755 });
  const { status, signal, stdout, stderr, error } = spawnSync(path, args, { env, timeout: 20_000 });
  if (error !== undefined) throw error;
  return { status, signal, stdout, stderr: stderr.toString() };
}

/** The bytes of the executable. */
export function restoreExecutable(plan: (program: RestoreProgram, window: Window) => void): Uint8Array {
  const window = chooseWindow([]);
  const program = new RestoreProgram('x86_64');
  plan(program, window);
  const file = buildExecutable({
    image: imageOf(),
    window,
    spans: [],
    data: program.layOut(window.data, PREFIX).bytes,
    dataOffset: 4096,
    notes: [],
    symbols: 'none',
    extras: [],
  });
  return elfBytes(file);
}
