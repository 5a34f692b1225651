/**
 * malloc and its family as the program defines them on ELF: the manual's cases, forks, static programs,
 * and programs of others.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { run } from '../../support/run.ts';
import { buildWithRuntime, giveReserve, MIB, RUNTIME_SOURCE } from '../../support/runtime.ts';
import { ROOT, sandbox } from '../../support/sandbox.ts';

const directory = sandbox('runtime-malloc');

test('malloc and its family do what the manual says, at their limits too', async t => {
  const source = 'test/fixtures/runtime/family.c';
  const flags = ['-fno-builtin', '-Wno-alloc-size-larger-than'];
  const program = buildWithRuntime({ source, output: join(directory, 'family'), reserve: MIB, flags });
  t.like(await run(program), { stdout: 'done\n', status: 0 });
  const bare = buildWithRuntime({ source, output: join(directory, 'family-bare'), flags });
  t.like(await run(bare), { stdout: 'done\n', status: 0 });
});

test('a child of fork finds malloc whole while other threads of its parent are in it', async t => {
  const source = 'test/fixtures/runtime/forks.c';
  const program = buildWithRuntime({ source, output: join(directory, 'forks'), reserve: 16 * MIB });
  t.like(await run(program), { stdout: '200 children, malloc whole\n', status: 0 });
});

const linked = test.macro({
  exec: async (t, name: string, compiler: string, flags: readonly string[], through: readonly string[]) => {
    const source = 'test/fixtures/runtime/torture.c';
    const output = join(directory, `torture-${name}`);
    buildWithRuntime({ source, output, reserve: 16 * MIB, flags, compiler });
    const { stdout } = await run(output, { args: ['1', '20000', '4', '50000'], through });
    t.is(stdout, 'walk: clean at 0\noverflow none\ndone\n');
  },
  title: (_, name) => `malloc is the program's in a program that is ${name}`,
});
test(linked, 'static', 'gcc', ['-static'], []);
test(linked, 'optimised as a whole', 'gcc', ['-flto=auto', '-O3'], []);
test(linked, 'made by clang', 'clang-19', [], []);
test(linked, 'of arm64', 'aarch64-linux-gnu-gcc', ['-static'], ['qemu-aarch64-static']);

test('C++ has its exceptions, streams, maps and threads on it', async t => {
  const output = join(directory, 'exceptions-threads');
  const object = join(directory, 'runtime.o');
  execFileSync('gcc', ['-O2', '-c', RUNTIME_SOURCE, '-o', object]);
  const space = [join(ROOT, 'test/fixtures/runtime/space.c'), `-DSPACE=${64 * MIB}`];
  execFileSync('gcc', ['-c', ...space, '-o', join(directory, 'space.o')]);
  const source = join(ROOT, 'test/fixtures/runtime/containers.cc');
  execFileSync('g++', [
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-pthread',
    `-I${join(ROOT, 'unexec/runtime')}`,
    ...['-o', output, object, join(directory, 'space.o'), source],
  ]);
  giveReserve(output, 64 * MIB);
  t.like(await run(output), {
    stdout: 'caught 3 of 3, 20000 names, 80000 in threads, all inside\n',
    status: 0,
  });
});

const preloaded = test.macro({
  exec: async (t, name: string, ...command: string[]) => {
    const library = join(directory, 'preloaded.so');
    const [program = '', ...args] = command;
    const env = { PATH: '/usr/bin:/bin', LD_PRELOAD: library };
    const own = await run(program, { args });
    const ours = await run(program, { args, env });
    t.is(own.status, 0, `${name}: ${own.stderr}`);
    t.like(ours, { stdout: own.stdout, stderr: own.stderr, status: 0 });
  },
  title: (_, name) => `${name} does the same with malloc from the reserve`,
});
test.before(() => {
  const library = join(directory, 'preloaded.so');
  const sources = [RUNTIME_SOURCE, join(ROOT, 'test/fixtures/runtime/space.c'), `-DSPACE=${64 * MIB}`];
  execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', library, ...sources]);
  giveReserve(library, 64 * MIB);
});
test(
  preloaded,
  'python',
  '/usr/bin/python3',
  '-c',
  'import json, threading, decimal; print(len(json.dumps([{i: str(i)} for i in range(50000)])))',
);
test(
  preloaded,
  'perl',
  '/usr/bin/perl',
  '-MPOSIX',
  '-e',
  'my %h = map { $_ => "x" x $_ } 1..3000; print 0+%h',
);
test(preloaded, 'emacs', '/usr/bin/emacs', '-Q', '--batch', '--eval', '(princ (length (make-list 99999 1)))');
test(
  preloaded,
  'node',
  process.execPath,
  '-e',
  'new (require("worker_threads").Worker)("console.log([...Array(99999).keys()].join().length)",{eval:true})',
);
