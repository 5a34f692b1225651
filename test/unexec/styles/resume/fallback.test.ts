/**
 * `--or-start`: what the program says that is started where its image cannot go on, against what it says when it is
 * started by itself in the same surroundings.
 */
import { appendFileSync, copyFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { FreezeOptions } from '../../../../unexec/freeze.ts';
import { compileFixture } from '../../../support/fixtures.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { PATH, type RunOptions, run } from '../../../support/run.ts';
import { freshDirectory } from '../../../support/same-result.ts';

/** Descriptors, ignored signals, a mask and a limit of its own, for whatever is started through it. */
const SURROUNDINGS = [
  '/bin/bash',
  '-c',
  'unset PWD; trap "" USR2; umask 013; ulimit -Sn 250; exec 0<&- 5</etc/passwd 7>&1 9</etc 11</dev/null; exec "$@"',
  'bash',
];
const ENV = { PATH, X: 'of the caller' };

interface Frozen {
  readonly program: string;
  readonly path: string;
  readonly directory: string;
  readonly input: string;
}

/** Freezes the fixture, which has `input` open. */
async function freezeReader(args: readonly string[] = [], options: FreezeOptions = {}): Promise<Frozen> {
  const directory = freshDirectory();
  const input = join(directory, 'input');
  writeFileSync(input, '0123456789');
  const program = `${directory}.program`;
  copyFileSync(compileFixture('files/started-anew.c'), program);
  const path = `${directory}.frozen`;
  await freezeProgram(program, path, {
    at: 'stop',
    orStart: true,
    env: ['X=of the freeze', 'Y=of the freeze'],
    ...options,
    args: [directory, ...args],
  });
  return { program, path, directory, input };
}

const oneLine = (program: string, why: string): RegExp =>
  new RegExp(`^unexec: ${program} is started anew, as it cannot be resumed: [^\n]*${why}[^\n]*\n$`);

test('an image that can go on does, and leaves nothing of what it kept', async t => {
  const { program, path, directory } = await freezeReader();
  const { stdout, stderr, status } = await run(path, { env: ENV });
  const itself = await run(program, { args: [directory], env: ENV });
  t.deepEqual([stderr, status], ['', 7]);
  t.regex(stdout, /^input: 10 .*\n0 1 2 3 4 5 6 7 8 9 .* are open\n$/);
  t.true(itself.stdout.endsWith(stdout), itself.stdout);
});

const startsAnew = test.macro({
  exec: async (t, args: readonly string[], how: RunOptions) => {
    const { program, path, directory, input } = await freezeReader(args);
    appendFileSync(input, 'x');
    const cwd = process.cwd();
    const anew = await run(path, { args: ['new', ''], env: ENV, cwd: '/tmp', ...how });
    const itself = await run(program, { args: [directory, ...args, 'new', ''], env: ENV, cwd, ...how });
    t.regex(anew.stderr, oneLine(program, 'its size differs'));
    // The variables of the freeze come behind those of the caller, whose values count.
    const added = 'environment X=of the freeze\nenvironment Y=of the freeze\nfirst X of the caller\n';
    t.is(anew.stdout, itself.stdout.replace('first X of the caller\n', added));
    t.is(anew.status, 7);
  },
  title: what => `a changed file starts the program as its caller would have: ${what}`,
});

test('with stdin, stdout and stderr only', startsAnew, [], {});
test('with descriptors, signals and limits of the caller', startsAnew, ['closes'], { through: SURROUNDINGS });
test('as an ordinary user', startsAnew, [], { unprivileged: true });

test('the directory is the one of the caller, where the image would stay in it', async t => {
  const { path, input } = await freezeReader([], { cwd: 'caller' });
  unlinkSync(input);
  const { stdout, stderr } = await run(path, { cwd: '/usr/lib' });
  t.regex(stderr, /ENOENT/);
  t.regex(stdout, /^in \/usr\/lib$/m);
});

test('at main the new arguments stand in place of the old ones', async t => {
  const { program, path, input } = await freezeReader(['old'], { at: 'main' });
  unlinkSync(input);
  // Nothing is open yet: only a file that was cut off cannot go on.
  const { stdout: resumed } = await run(path, { args: ['new'] });
  t.regex(resumed, /^argument new$/m);
  const cut = await run('/usr/bin/env', { args: ['-i', path, 'new'], through: WITHOUT_PROC });
  t.regex(cut.stderr, oneLine(program, 'is /proc mounted'));
  t.deepEqual(cut.stdout.match(/^argument .*$/gm), ['argument new']);
});

/** A mount namespace of its own, in which /proc is an empty directory. */
const WITHOUT_PROC = [
  '/usr/bin/unshare',
  '--map-root-user',
  '--mount',
  '/bin/sh',
  '-c',
  'mount -t tmpfs none /proc && exec "$@"',
  'sh',
];

test('without /proc the program is started anew', async t => {
  const { program, path } = await freezeReader();
  const { stdout, stderr } = await run(path, { through: WITHOUT_PROC });
  t.regex(stderr, oneLine(program, 'open /proc/self/exe'));
  t.regex(stdout, /^in \//m);
});

test('where the program is gone as well, both reasons are told', async t => {
  const { program, path, input } = await freezeReader();
  unlinkSync(input);
  unlinkSync(program);
  const { stdout, stderr, status } = await run(path);
  t.deepEqual([stdout, status], ['', 127]);
  const [first = '', ...rest] = stderr.split('\n');
  t.regex(`${first}\n`, oneLine(program, 'ENOENT'));
  t.deepEqual(rest, [`unexec: cannot start ${program} either: execve: ENOENT`, '']);
});

test('where the program can no longer be executed, the status is 126', async t => {
  const { program, path, input } = await freezeReader();
  unlinkSync(input);
  writeFileSync(program, 'nothing that a kernel knows');
  const { stderr, status } = await run(path);
  t.is(status, 126);
  t.true(stderr.endsWith(`unexec: cannot start ${program} either: execve: ENOEXEC\n`), stderr);
});

test('what fails behind the last point of return ends the process, as without a fallback', async t => {
  const directory = freshDirectory();
  const program = compileFixture('state/threads.c');
  const { path } = await freezeProgram(program, `${directory}.frozen`, {
    at: 'stop',
    orStart: true,
    args: [directory],
  });
  const { stdout, stderr, status } = await run(path, {
    unprivileged: true,
    through: ['/usr/bin/prlimit', '--nproc=1', '--'],
  });
  t.deepEqual([stdout, status], ['', 125]);
  t.regex(stderr, /^unexec: cannot resume \S+: create thread [^\n]*: EAGAIN\n$/);
});
