import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, realpathSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { UnexecError } from '../../../unexec/errors.ts';
import { type FreezeOptions, freeze } from '../../../unexec/freeze.ts';
import { readManifest } from '../../../unexec/read-manifest.ts';
import { isElfCore } from '../../../unexec/sources/elf-core.ts';
import { gdbCore, kernelCore, qemuCore, type TakenCore } from '../../support/cores.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { type RunOptions, run } from '../../support/run.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('elf-core-source');
let count = 0;
const freshPath = (): string => join(directory, `frozen-${count++}`);

/** What a program says alone, against what it said before its core and what the image of that says. */
async function sameResult(
  t: ExecutionContext,
  command: readonly string[],
  core: TakenCore,
  options: FreezeOptions = {},
  running: RunOptions = {},
): Promise<void> {
  const [program = '', ...args] = command;
  const whole = await run(program, { args, ...running });
  const path = freshPath();
  const report = await freeze(core.path, path, options);
  const second = await run(path, { timeout: 20_000, ...running });
  t.deepEqual(
    { said: core.written + second.stdout + second.stderr, status: second.status, signal: second.signal },
    { said: whole.stdout + whole.stderr, status: whole.status, signal: whole.signal },
  );
  t.is(report.reached, 'core');
  t.true(report.assumptions.some(({ what }) => what === 'signal handlers'));
  t.deepEqual(readManifest(path).assumptions, report.assumptions);
}

const PERL = [
  '/usr/bin/perl',
  '-e',
  '$| = 1; my %h = map { $_ => $_ ** 2 } 1..1000; print "before\\n"; kill STOP => $$; my $s = 0; $s += $_ for values %h; print "after $s\\n"; system("echo a child")',
];

const PROGRAMS: Readonly<Record<string, () => string[]>> = {
  'a program with threads': () => [compileFixture('cores/threads.c'), 'stop'],
  'a static program with threads': () => [compileFixture('cores/threads.c', ['-static']), 'stop'],
  perl: () => PERL,
  python: () => [
    '/usr/bin/python3',
    '-c',
    'import os, signal, re, json; d = {str(i): [i] * 3 for i in range(1000)}; print("before", flush=True); os.kill(os.getpid(), signal.SIGSTOP); print("after", len(json.dumps(d)), re.sub("a+", "b", "caat"))',
  ],
};

for (const [name, command] of Object.entries(PROGRAMS)) {
  test(`${name} goes on from the kernel's core with the same result`, async t => {
    await sameResult(t, command(), await kernelCore(command(), directory));
  });

  test(`${name} goes on from gcore's core with the same result`, async t => {
    await sameResult(t, command(), await gdbCore(command(), directory));
  });
}

test('a program goes on from a core without any page of a file, and from one with all', async t => {
  const command = [compileFixture('cores/threads.c'), 'stop'];
  for (const filter of ['0x3', '0x3f']) {
    await sameResult(t, command, await kernelCore(command, directory, { filter }));
  }
});

const LINE: RunOptions = { stdin: 'a line\n' };

for (const flags of [[], ['-static']]) {
  const kind = flags.length === 0 ? 'dynamic' : 'static';
  test(`a ${kind} program goes on from the core of qemu-user, on the CPU itself`, async t => {
    const program = compileFixture('cores/threads.c', flags);
    const core = await qemuCore(['qemu-x86_64-static', program], directory);
    await sameResult(t, [program], core, { exe: program }, LINE);
  });
}

test('what a core does not say of a process is told by name', async t => {
  const command = [compileFixture('cores/threads.c'), 'stop'];
  const { assumptions } = await freeze((await gdbCore(command, directory)).path, freshPath());
  const told = new Map(assumptions.map(({ what, assumed }) => [what, assumed]));
  t.is(told.get('descriptors'), "0 to 2 as the new process's, no others");
  t.is(told.get('blocked signals'), 'none');
  t.is(told.get('working directory and umask'), "the caller's");
});

async function refused(t: ExecutionContext, core: string, options: FreezeOptions = {}): Promise<UnexecError> {
  const target = freshPath();
  writeFileSync(target, 'as it was');
  const error = await t.throwsAsync(() => freeze(core, target, options), { instanceOf: UnexecError });
  t.is(readFileSync(target, 'utf8'), 'as it was');
  return error;
}

test('a core that is cut off is refused in words', async t => {
  const command = [compileFixture('cores/threads.c'), 'stop'];
  const { path } = await kernelCore(command, directory);
  truncateSync(path, 1 << 20);
  const { code, message } = await refused(t, path);
  t.is(code, 'CORE_TRUNCATED');
  t.regex(message, /is cut off/);
});

test('a core of a crash is refused: the process would crash again', async t => {
  const command = [compileFixture('cores/threads.c'), 'stop'];
  const abort = ['/usr/bin/perl', '-e', 'kill STOP => $$; kill ABRT => $$'];
  const { reasons } = await refused(t, (await kernelCore(abort, directory, { signal: 'SIGCONT' })).path);
  t.deepEqual(
    reasons.map(({ code }) => code),
    ['CORE_OF_A_CRASH'],
  );
  // Somebody else's SIGABRT is none.
  await sameResult(t, command, await kernelCore(command, directory, { signal: 'SIGABRT' }));
});

test('a core without private memory is refused', async t => {
  const command = [compileFixture('cores/threads.c'), 'stop'];
  const { reasons } = await refused(t, (await kernelCore(command, directory, { filter: '0x10' })).path);
  t.true(reasons.some(({ code }) => code === 'CORE_MEMORY_MISSING'));
});

/** A program and its library, of which there are two with different build-ids. */
function libraries() {
  const library = (name: string, value: number): string => {
    const path = join(directory, name);
    const source = `const char text[5000] = "${value}"; int answer(void) { return ${value}; }`;
    execFileSync('gcc', ['-shared', '-fPIC', '-Wl,--build-id', '-x', 'c', '-', '-o', path], {
      input: source,
    });
    return path;
  };
  const used = library('libanswer.so', 42);
  const other = library('libother.so', 43);
  const program = join(directory, `answers-${count++}`);
  const main =
    '#include <signal.h>\n#include <stdio.h>\nint answer(void); int main(void) { raise(SIGSTOP); printf("%d\\n", answer()); }';
  execFileSync('gcc', ['-x', 'c', '-', '-x', 'none', used, `-Wl,-rpath,${directory}`, '-o', program], {
    input: main,
  });
  return { program, used, other };
}

test.serial(
  'a library that is another one now is refused with both build-ids, and a missing one with its path',
  async t => {
    const { program, used, other } = libraries();
    const core = await kernelCore([program], directory);
    const idOf = (path: string): string =>
      /Build ID: (\w+)/.exec(execFileSync('readelf', ['-n', path], { encoding: 'utf8' }))?.[1] ?? '';
    const ids = [idOf(used), idOf(other)];
    copyFileSync(used, `${used}.kept`);
    copyFileSync(other, used);
    const differs = await refused(t, core.path);
    t.is(differs.code, 'CORE_FILE_DIFFERS');
    for (const id of ids) t.true(differs.message.includes(id), differs.message);

    rmSync(used);
    const missing = await refused(t, core.path);
    t.true(missing.reasons.every(({ code }) => code === 'CORE_FILE_MISSING'));
    t.true(missing.reasons.some(({ what, remedy }) => what.includes(used) && remedy.includes('--sysroot')));

    // Elsewhere, below the root of another machine.
    const root = join(directory, 'root');
    for (const path of [used, program, ...loadedBy(program)]) {
      execFileSync('mkdir', ['-p', join(root, path, '..')]);
      copyFileSync(path === used ? `${used}.kept` : path, join(root, path));
    }
    const path = freshPath();
    await freeze(core.path, path, { sysroot: root });
    const { stdout, stderr } = await run(path);
    t.deepEqual({ stdout, stderr }, { stdout: '42\n', stderr: '' });
  },
);

const loadedBy = (program: string): string[] =>
  [...execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(\/\S+) \(/g)].flatMap(([, path]) =>
    path === undefined || basename(path) === 'libanswer.so' ? [] : [realpathSync(path)],
  );

test('another program than the one that ran is refused', async t => {
  const program = compileFixture('cores/threads.c');
  const core = await qemuCore(['qemu-x86_64-static', program], directory);
  const { code } = await refused(t, core.path, { exe: '/usr/bin/perl' });
  t.is(code, 'CORE_FILE_DIFFERS');
  const { code: needed } = await refused(t, core.path);
  t.is(needed, 'EXECUTABLE_NEEDED');
});

test('what is about a start or a process is refused of a core', async t => {
  const { path } = await kernelCore(PERL, directory);
  const { code, message } = await refused(t, path, { args: ['x'], cwd: 'frozen' });
  t.is(code, 'NOT_FOR_A_CORE');
  t.regex(message, /arguments, cwd/);
});

test('what is about cores is refused of a program', async t => {
  t.is((await refused(t, '/usr/bin/perl', { exe: '/usr/bin/perl' })).code, 'ONLY_FOR_A_CORE');
});

test('isElfCore() tells a core from a program, from text and from what is not there', async t => {
  const { path } = await gdbCore(PERL, directory);
  t.true(isElfCore(path));
  t.false(isElfCore('/usr/bin/perl'));
  t.false(isElfCore(import.meta.filename));
  t.false(isElfCore(join(directory, 'nothing')));
  t.false(isElfCore(directory));
});
