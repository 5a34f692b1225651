/**
 * The Mach-O loader for Linux (loader/, in C): built once for each state of its sources, into build/, and
 * run; arm64 under qemu-user.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type Outcome, type RunOptions, run } from '../run.ts';
import { ROOT } from '../sandbox.ts';
import type { MachOArch } from './toolchain.ts';

/** Who is to have written a core: loader/core.c says what that means. */
export type CoreStyle = 'xnu' | 'lldb' | 'modified';

export interface LoaderOptions {
  readonly arch: MachOArch;
  /** Bytes above the program's own addresses. Default: at random. */
  readonly slide?: bigint;
  /** Name of a function, or `entry`. */
  readonly at?: string;
  /** Path of a core, written at `at`. */
  readonly core?: string;
  readonly coreStyle?: CoreStyle;
  /** Goes on after the core, instead of ending with status 0. */
  readonly goOn?: boolean;
  /** Raises SIGSTOP at `at`. */
  readonly stop?: boolean;
  /** A third-party program: what is not modelled comes from the C library of Linux. */
  readonly foreign?: boolean;
}

const SOURCES = join(ROOT, 'test/support/macho/loader');
/** With frame pointers, as through them lldb finds the program's frames behind ours. */
const FLAGS = '-D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -pthread -fno-omit-frame-pointer'.split(' ');
/** Where dlsym finds what belongs to libSystem. */
const FOREIGN_LIBRARIES: readonly string[] = ['-Wl,--no-as-needed', '-lm', '-lgcc_s'];
/** Status of the loader when a program breaks a rule. */
export const REFUSED = 126;

/** Program and arguments that run a Mach-O executable: for those who start it themselves. */
export function loaderCommand(path: string, args: readonly string[], options: LoaderOptions): string[] {
  const { arch, foreign = false, slide, at, core, coreStyle } = options;
  const command = arch === 'arm64' ? ['/usr/bin/qemu-aarch64-static'] : [];
  if (arch === 'arm64' && foreign) command.push('-L', '/usr/aarch64-linux-gnu');
  command.push(loader(arch, foreign));
  if (slide !== undefined) command.push('--slide', `0x${slide.toString(16)}`);
  if (at !== undefined) command.push('--at', at);
  if (core !== undefined) command.push('--core', core);
  if (coreStyle !== undefined) command.push('--core-style', coreStyle);
  if (options.goOn === true) command.push('--go-on');
  if (options.stop === true) command.push('--stop');
  if (foreign) command.push('--foreign');
  return [...command, path, ...args];
}

/** Runs a Mach-O executable to its end. */
export function runMachO(
  path: string,
  args: readonly string[],
  options: LoaderOptions & Omit<RunOptions, 'args' | 'through'>,
): Promise<Outcome> {
  const [program = '', ...rest] = loaderCommand(path, args, options);
  return run(program, { ...options, args: rest });
}

/** Path of the loader. Static, but where a third-party program needs all of the C library. */
export function loader(arch: MachOArch, foreign = false): string {
  const sources = readdirSync(SOURCES)
    .filter(name => /\.[ch]$/.test(name))
    .sort()
    .map(name => join(SOURCES, name));
  const hash = createHash('sha256').update([...FLAGS, ...FOREIGN_LIBRARIES].join(' '));
  for (const source of sources) hash.update(source).update(readFileSync(source));
  const directory = join(ROOT, 'build/macho-loader', hash.digest('hex').slice(0, 16));
  const path = join(directory, `${arch}${foreign ? '-foreign' : ''}`);
  if (!existsSync(path)) build(path, directory, sources, arch, foreign);
  return path;
}

function build(
  path: string,
  directory: string,
  sources: readonly string[],
  arch: MachOArch,
  foreign: boolean,
): void {
  mkdirSync(directory, { recursive: true });
  const compiler = arch === 'arm64' ? 'aarch64-linux-gnu-gcc' : 'gcc';
  const flags = [...FLAGS];
  if (!foreign) flags.push('-static', '-DSTATIC_LOADER');
  const made = `${path}.${process.pid}`;
  const code = sources.filter(name => name.endsWith('.c'));
  const args = [...flags, '-o', made, ...code, ...(foreign ? FOREIGN_LIBRARIES : [])];
  const { status, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8' });
  if (error !== undefined)
    throw new Error(`${compiler} is missing: apt-get install gcc gcc-aarch64-linux-gnu`, { cause: error });
  if (status !== 0) throw new Error(`${compiler}: status ${status}\n${stderr}`);
  renameSync(made, path);
}
