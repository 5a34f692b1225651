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
import { NOTHING_LEFT } from '../../unexec/file-pages.ts';
import type { Arch } from '../../unexec/image.ts';
import { RESTORERS } from '../../unexec/restorer/machine-code.ts';
import { RestoreProgram } from '../../unexec/restorer/program.ts';
import { buildExecutable } from '../../unexec/styles/resume/executable.ts';
import { chooseWindow, type Window } from '../../unexec/styles/resume/window.ts';
import { runnerOf, runsHere } from './foreign-arch.ts';
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

let arch: Arch = 'x86_64';
let directory: string | undefined;
let count = 0;

/** Chooses what the programs are built for; a test file that has not chosen is about x86-64. */
export function buildFor(chosen: Arch): void {
  arch = chosen;
}

/** What the programs are built for. */
export const builtFor = (): Arch => arch;

/** Builds the program that `plan` describes, and runs it to its end. */
export function runRestore(
  plan: (program: RestoreProgram, window: Window) => void,
  { args = [], env = { PATH } }: RestoreOptions = {},
): Ended {
  directory ??= sandbox('restore');
  const path = join(directory, `program-${count++}`);
  writeFileSync(path, restoreExecutable(plan), { mode: 0o755 });
  const [command = path, ...rest] = [...runnerOf(arch), path, ...args];
  // qemu gives an environment to its program the other way round.
  const variables = runsHere(arch) ? env : Object.fromEntries(Object.entries(env).reverse());
  const options = { env: variables, timeout: 20_000 };
  const { status, signal, stdout, stderr, error } = spawnSync(command, rest, options);
  if (error !== undefined) throw error;
  return { status, signal, stdout, stderr: stderr.toString() };
}

/** The bytes of the executable. */
export function restoreExecutable(plan: (program: RestoreProgram, window: Window) => void): Uint8Array {
  const window = chooseWindow(arch, []);
  const program = new RestoreProgram(arch);
  plan(program, window);
  const file = buildExecutable({
    image: imageOf({ arch }),
    window,
    spans: [],
    left: NOTHING_LEFT,
    compressed: false,
    data: program.layOut(window.data, PREFIX).bytes,
    dataOffset: RESTORERS[arch].alignment,
    notes: [],
    symbols: 'none',
    extras: [],
  });
  return elfBytes(file);
}
