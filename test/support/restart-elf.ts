/**
 * ELF programs through the restart style: built with the runtime, prepared, dumped where they ask for it, run.
 * AArch64 ones under qemu-user.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { parseFreezePoint } from '../../unexec/freeze-point.ts';
import { prepare } from '../../unexec/prepare.ts';
import { type RestartReport, restart } from '../../unexec/restart.ts';
import { launchOptions } from '../../unexec/sources/launch-options.ts';
import { openLiveElf } from '../../unexec/sources/live-elf.ts';
import { writeRestartElf } from '../../unexec/styles/restart-elf.ts';
import { openTarget } from '../../unexec/target-file.ts';
import { type Outcome, type RunOptions, run } from './run.ts';
import { MIB, RUNTIME, RUNTIME_SOURCE } from './runtime.ts';
import { ROOT } from './sandbox.ts';

export type ElfArch = 'x86_64' | 'aarch64';

export interface ElfProgram {
  /** From the root of the checkout; `.cc` is C++. */
  readonly source: string;
  readonly directory: string;
  readonly name: string;
  readonly arch?: ElfArch;
  /** For the compiler and the linker. */
  readonly flags?: readonly string[];
  /** Default: gcc or g++ of the architecture. */
  readonly compiler?: string;
  /** Default: true. */
  readonly runtime?: boolean;
  /** Bytes. Default: 16 MiB; 0: the program is not prepared. */
  readonly reserve?: number;
}

const EMULATOR = '/usr/bin/qemu-aarch64-static';
const LIBRARIES = ['-L', '/usr/aarch64-linux-gnu'];

/** Builds and prepares a program. Returns its path. */
export async function preparedElf(program: ElfProgram): Promise<string> {
  const built = buildElf(program);
  if (program.reserve === 0 || program.runtime === false) return built;
  const prepared = `${built}.prepared`;
  await prepare(built, prepared, { reserve: program.reserve ?? 16 * MIB });
  return prepared;
}

/** The runtime is the last object before the libraries. */
export function buildElf({ source, directory, name, flags = [], ...rest }: ElfProgram): string {
  const output = join(directory, name);
  const prefix = rest.arch === 'aarch64' ? 'aarch64-linux-gnu-' : '';
  const own = rest.compiler ?? 'gcc';
  const compiler = source.endsWith('.cc') ? own.replace('gcc', 'g++').replace('clang', 'clang++') : own;
  const options = ['-O1', '-g', '-pthread', `-I${RUNTIME}`];
  const runtime = rest.runtime === false ? [] : [runtimeObject(directory, `${prefix}${own}`, flags)];
  execFileSync(`${prefix}${compiler}`, [...options, '-o', output, join(ROOT, source), ...flags, ...runtime]);
  return output;
}

/** Compiled once for the programs of a test. */
function runtimeObject(directory: string, compiler: string, flags: readonly string[]): string {
  const own = flags.filter(flag => flag.startsWith('-f') && !flag.startsWith('-fuse-ld'));
  if (flags.includes('-no-pie')) own.push('-fno-pie');
  const path = join(directory, `runtime.${[compiler, ...own].join('.')}.o`);
  if (!existsSync(path)) execFileSync(compiler, ['-O2', '-g', ...own, '-c', '-o', path, RUNTIME_SOURCE]);
  return path;
}

export interface DumpOptions {
  readonly arch?: ElfArch;
  readonly args?: readonly string[];
  /** Default: `request`, which an emulator does not pass on. */
  readonly at?: string;
  readonly strict?: boolean;
}

/** Runs the program to its freeze point, twice, and writes the target. */
export function dumpElf(program: string, target: string, options: DumpOptions = {}): Promise<RestartReport> {
  const { arch, args = [], at = 'request', strict = false } = options;
  return silently(stdio =>
    arch === 'aarch64'
      ? restart(EMULATOR, target, { at, exe: program, args: [...LIBRARIES, program, ...args], stdio, strict })
      : restart(program, target, { at, args, stdio, strict }),
  );
}

/** The same with one run, whose pointers are guessed. */
export function dumpElfOnce(program: string, target: string) {
  return silently(async stdio => {
    const point = parseFreezePoint('request');
    const live = await openLiveElf(program, point, launchOptions({ args: [], stdio }), undefined);
    const output = await openTarget(target);
    try {
      const { image, executable } = live;
      const first = { image, slide: executable.slide };
      const manifest = { tool: 'test', argv: [], freezePoint: 'request', frozenAt: '2026-01-01T00:00:00Z' };
      const input = {
        file: executable.file,
        path: program,
        first,
        second: undefined,
        strict: false,
        manifest,
      };
      const written = await writeRestartElf({ ...input, onProgress: () => {} }, output);
      await output.commit();
      return written;
    } finally {
      await output.abandon();
      live.release();
    }
  });
}

async function silently<T>(work: (stdio: readonly [number, number, number]) => Promise<T>): Promise<T> {
  const nowhere = openSync('/dev/null', 'r+');
  try {
    return await work([nowhere, nowhere, nowhere]);
  } finally {
    closeSync(nowhere);
  }
}

/** Runs it to its end. */
export const runElf = (path: string, options: RunOptions = {}, arch: ElfArch = 'x86_64'): Promise<Outcome> =>
  run(path, arch === 'aarch64' ? { ...options, through: [EMULATOR, ...LIBRARIES] } : options);
