/**
 * Foreign programs that judge our files, and the compiler that makes some. A missing program is an error
 * that names its package: a test that quietly skips its judge proves nothing.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PACKAGES = {
  readelf: 'binutils',
  gcc: 'gcc',
  gdb: 'gdb',
  'eu-elflint': 'elfutils',
  'llvm-readobj': 'llvm',
} as const;

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

/** Runs a tool in English and hands back what it said, whatever its exit status. */
export function run(tool: keyof typeof PACKAGES, args: readonly string[]): Outcome {
  const { error, stdout, stderr, status } = spawnSync(tool, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    maxBuffer: 256 * 1024 * 1024,
  });
  if (error && 'code' in error && error.code === 'ENOENT') {
    throw new Error(`${tool} is missing, install the package ${PACKAGES[tool]}`);
  }
  if (error) throw error;
  return { stdout, stderr, status };
}

/** Standard output of a tool that must succeed without a word on standard error. */
export function output(tool: keyof typeof PACKAGES, args: readonly string[]): string {
  const { stdout, stderr, status } = run(tool, args);
  if (status !== 0 || stderr !== '')
    throw new Error(`${tool} ${args.join(' ')}: status ${status}\n${stderr}${stdout}`);
  return stdout;
}

/** A directory that goes away when this process ends. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'unexec-formats-'));
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

const directory = temporaryDirectory();
let files = 0;

/** The bytes in a file of their own, executable. */
export function onDisk(bytes: Uint8Array): string {
  const path = join(directory, `elf-${++files}`);
  writeFileSync(path, bytes, { mode: 0o755 });
  return path;
}

/** Path of what gcc makes of this C program. */
export function compile(source: string, args: readonly string[]): string {
  const path = join(directory, `compiled-${++files}`);
  writeFileSync(`${path}.c`, source);
  output('gcc', ['-o', path, `${path}.c`, ...args]);
  return path;
}

export const compiled = (source: string, args: readonly string[]): Uint8Array =>
  bytesOf(compile(source, args));

export const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** Path of an object file with so many sections, `.s0` on, and a symbol `in_0` on in each. */
export function manySections(count: number): string {
  const path = join(directory, `many-${count}`);
  const lines = Array.from({ length: count }, (_, i) => `.section .s${i},"a"\nin_${i}: .byte ${i & 255}\n`);
  writeFileSync(`${path}.s`, lines.join(''));
  output('gcc', ['-c', '-o', path, `${path}.s`]);
  return path;
}
