/**
 * The runtime's sources as users compile them: every compiler and target, without a warning, as one file
 * and one by one.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { RUNTIME, RUNTIME_SOURCE } from '../../support/runtime.ts';
import { ROOT, sandbox } from '../../support/sandbox.ts';

const directory = sandbox('runtime-compile');
const WARNINGS = ['-Wall', '-Wextra', '-Wshadow', '-Wstrict-prototypes', '-Werror', '-std=c11'];
const DARWIN = ['-nostdlibinc', '-isystem', join(ROOT, 'test/support/macho/include')];

interface Target {
  readonly compiler: readonly string[];
  /** The file that is not for this target. */
  readonly not: string;
}
const TARGETS: Readonly<Record<string, Target>> = {
  'gcc for x86-64 Linux': { compiler: ['gcc'], not: 'malloc-darwin.c' },
  'clang for x86-64 Linux': { compiler: ['clang-19'], not: 'malloc-darwin.c' },
  'gcc for arm64 Linux': { compiler: ['aarch64-linux-gnu-gcc'], not: 'malloc-darwin.c' },
  'clang for arm64 Linux': {
    compiler: ['clang-19', '--target=aarch64-linux-gnu', '-isystem', '/usr/aarch64-linux-gnu/include'],
    not: 'malloc-darwin.c',
  },
  'clang for x86_64 macOS': {
    compiler: ['clang-19', '-target', 'x86_64-apple-macos11', ...DARWIN],
    not: 'malloc-elf.c',
  },
  'clang for arm64 macOS': {
    compiler: ['clang-19', '-target', 'arm64-apple-macos11', ...DARWIN],
    not: 'malloc-elf.c',
  },
};

function compile(command: readonly string[], source: string): string {
  const [program = '', ...args] = [...command, ...WARNINGS, '-c', source, '-o', join(directory, 'object.o')];
  const { stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  return stderr;
}

for (const [name, { compiler, not }] of Object.entries(TARGETS)) {
  test.serial(`the runtime compiles without a warning: ${name}`, t => {
    for (const level of ['-O0', '-O3']) t.is(compile([...compiler, level], RUNTIME_SOURCE), '', level);
    const files = readdirSync(RUNTIME).filter(file => file.endsWith('.c') && file !== not);
    t.true(files.length >= 5);
    for (const file of files) t.is(compile([...compiler, '-O1'], join(RUNTIME, file)), '', file);
  });
}

test.serial(
  'the magic of the reserve occurs once in an object, debug information with macros included',
  t => {
    t.is(compile(['gcc', '-g3', '-O2'], RUNTIME_SOURCE), '');
    const object = readFileSync(join(directory, 'object.o'));
    const at = object.indexOf('unexec reserve 1');
    t.true(at > 0);
    t.false(object.includes('unexec reserve 1', at + 1));
    t.is(at % 16, 0);
  },
);
