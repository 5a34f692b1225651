/**
 * The foreign programs that judge Mach-O files, and programs of ours for them and for the reader: one C
 * source, compiled in every way that matters to the format.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  compileFlags,
  compileMachO,
  type MachOArch,
  type MachOProgram,
} from '../../../support/macho/toolchain.ts';
import { sandbox } from '../../../support/sandbox.ts';

const PACKAGES = {
  'llvm-nm-19': 'llvm-19',
  'llvm-objdump-19': 'llvm-19',
  'llvm-readobj-19': 'llvm-19',
  'llvm-otool-19': 'llvm-19',
  'llvm-lipo-19': 'llvm-19',
  'llvm-strip-19': 'llvm-19',
  'dsymutil-19': 'llvm-19',
  'clang-19': 'clang-19',
} as const;

/** Standard output of a tool that must succeed without a word on standard error. */
export function output(tool: keyof typeof PACKAGES, ...args: readonly string[]): string {
  const { error, stdout, stderr, status } = spawnSync(tool, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    maxBuffer: 512 * 1024 * 1024,
  });
  if (error && 'code' in error && error.code === 'ENOENT') {
    throw new Error(`${tool} is missing, install the package ${PACKAGES[tool]}`);
  }
  if (error) throw error;
  if (status !== 0 || stderr !== '') {
    throw new Error(`${tool} ${args.join(' ')}: status ${status}\n${stderr}${stdout.slice(0, 2000)}`);
  }
  return stdout;
}

const directory = sandbox('formats-macho');
let files = 0;

/** The bytes in a file of their own, executable. */
export function onDisk(bytes: Uint8Array): string {
  const path = join(directory, `file-${++files}`);
  writeFileSync(path, bytes, { mode: 0o755 });
  return path;
}

export const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** Data of every kind: constant, relocated, zero, thread-local, common; a weak and a hidden function. */
const SOURCE = `
  #include <stdio.h>
  #include <stdlib.h>
  int common; static int zero[5000]; int one = 1; const int fixed[] = {1, 2, 3};
  _Thread_local int local = 7; _Thread_local int local_zero;
  static int f(int x) { return x + 1; } static int g(int x) { return x + 2; }
  int (*table[])(int) = {f, g, f}; const char *const names[] = {"f", "g"}; void *imported = (void *)&malloc;
  __attribute__((weak)) int maybe(void) { return 3; }
  __attribute__((visibility("hidden"))) int hidden(void) { return 4; }
  __attribute__((constructor)) static void first(void) { zero[one] = one; }
  int main(int argc, char **argv) {
    printf("%s %d\\n", names[argc & 1], table[argc % 3](zero[argc]) + local + local_zero + maybe() + hidden());
    return common + fixed[argc % 3] + (argv == 0);
  }`;
const source = join(directory, 'sample.c');
writeFileSync(source, SOURCE);

const cache = new Map<string, string>();

/** Path of the sample, linked in one of these ways; each way is linked once. */
export function linked(how: Omit<MachOProgram, 'sources'>): string {
  const key = JSON.stringify(how);
  const path =
    cache.get(key) ?? compileMachO({ sources: [source], directory, name: `linked-${++files}`, ...how });
  cache.set(key, path);
  return path;
}

/** Path of the sample's object file. */
export function object(arch: MachOArch, flags: readonly string[] = []): string {
  const path = join(directory, `object-${++files}.o`);
  output('clang-19', ...compileFlags(arch), ...flags, '-c', source, '-o', path);
  return path;
}

/** Path of the debug companion (MH_DSYM) of the sample. */
export function dsym(arch: MachOArch): string {
  const program = linked({ arch, fixups: 'chained' });
  const path = join(directory, `debug-${++files}`);
  output('dsymutil-19', '--flat', '-o', path, program);
  return path;
}

/** Path of a fat file of these. */
export function fat(...paths: readonly string[]): string {
  const path = join(directory, `fat-${++files}`);
  output('llvm-lipo-19', '-create', ...paths, '-output', path);
  return path;
}
