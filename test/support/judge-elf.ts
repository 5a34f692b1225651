/**
 * Judges an ELF file that was made of another one: readelf, llvm-readobj, gdb and eu-elflint have no complaint
 * that they do not have of the other one as well.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';

const PACKAGES = {
  readelf: 'binutils',
  'llvm-readobj': 'llvm',
  gdb: 'gdb',
  'eu-elflint': 'elfutils',
} as const;

/**
 * elfutils 0.188 does not count SHT_NOBITS sections for this: it says so of every segment of nothing but .bss,
 * those of GNU ld included (test/unexec/elf/prepare.test.ts shows one).
 */
export const BSS_ONLY = /^loadable segment \[\d+\] is writable but contains no writable sections$/;

/** What is said of `made` and not of `original`; nothing, where all is well. */
export function complaintsOfElf(made: string, original: string): string[] {
  const before = new Set(complaints(original));
  return complaints(made).filter(line => !before.has(line));
}

/** What `--all` has but unwinding and hash tables, which take a second in a large program. */
const LLVM_TABLES = ['-h', '-l', '-S', '-d', '-r', '-n', '--symbols', '--dyn-symbols', '--version-info'];

const complaints = (path: string): string[] =>
  [
    ...said('readelf', ['-aW', path]).stderr,
    ...said('llvm-readobj', [...LLVM_TABLES, path]).stderr,
    ...said('gdb', ['-batch', '-nx', '-ex', 'info files', path]).stderr,
    ...lint(path),
  ].map(line => line.replaceAll(path, 'FILE').replace(/(relocation|symbol) \d+/, '$1'));

function lint(path: string): string[] {
  const lines = said('eu-elflint', ['--gnu-ld', path]).stdout;
  return lines.filter(line => line !== 'No errors' && !BSS_ONLY.test(line));
}

function said(tool: keyof typeof PACKAGES, args: readonly string[]): { stdout: string[]; stderr: string[] } {
  const { error, stdout, stderr } = spawnSync(tool, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    maxBuffer: 1 << 30,
  });
  if (error) throw new Error(`${tool} fails (${error.message}), is the package ${PACKAGES[tool]} installed?`);
  const lines = (text: string): string[] => text.split('\n').filter(line => line !== '');
  return { stdout: lines(stdout), stderr: lines(stderr) };
}
