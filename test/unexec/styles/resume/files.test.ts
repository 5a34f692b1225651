import { appendFileSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { compileFixture } from '../../../support/fixtures.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { isRoot, run } from '../../../support/run.ts';
import {
  freezeFixture,
  freshDirectory,
  type StoryOptions,
  sameResult,
} from '../../../support/same-result.ts';

const same = test.macro({
  exec: async (t, fixture: string, options: StoryOptions = {}) => {
    await sameResult(t, `files/${fixture}.c`, options);
  },
  title: (what, fixture) => `resume gives back ${what ?? fixture}`,
});

test('regular files at their offsets, with their flags and numbers', same, 'regular');
test('deleted files, with all their descriptions', same, 'deleted');
test('memfds, with seals and mappings', same, 'memfd');
test('shared memory that only mappings refer to', same, 'shared-memory');
test('a shared mapping of a file, which it goes on writing to', same, 'shared-file');
test('directories in the middle of being read', same, 'directory');
test('pipes with unread bytes, closed ends and second descriptions', same, 'pipes');
test('a pipe by which a program catches its own output', same, 'own-stdout');
test('socket pairs with unread messages, shut down and closed ends', same, 'socketpairs');
test('eventfds with their counts', same, 'eventfd');
test('timerfds with what remains and what nobody has read', same, 'timerfd');
test('a signalfd with a signal that waits', same, 'signalfd');
test('inotify with its watch numbers and nothing that did not happen', same, 'inotify', { at: 'request' });
test('inotify whose calls nobody has seen: root can ask, and others are refused', async t => {
  const unseen = sameResult(t, 'files/inotify.c', { args: ['unseen'] });
  if (isRoot) await unseen;
  else await t.throwsAsync(unseen, { code: 'CANNOT_BE_KEPT' });
});
test('epolls with their data, also one that watches another', same, 'epoll');
test('terminals of its own with modes and size', same, 'pty');
test('multicast groups, the backlog of a unix socket, and options', same, 'groups');
test('large and nearly empty memory', same, 'nearly-empty');
test('locks, which other processes see', same, 'locks');
test('O_ASYNC with its owner and signal', same, 'async');

async function frozenReader() {
  const directory = freshDirectory();
  const path = join(directory, 'input');
  writeFileSync(path, '0123456789');
  const program = compileFixture('files/one-file.c');
  const frozen = await freezeProgram(program, `${directory}.frozen`, { at: 'stop', args: [directory] });
  return { path, frozen };
}

test('resume reads a file that has not changed, whoever links to it now', async t => {
  const { path, frozen } = await frozenReader();
  symlinkSync(path, `${path}.link`);
  const second = await run(frozen.path);
  t.is(second.stdout, "input: 8 '23456789'\n");
});

const refuses = test.macro({
  exec: async (t, change: (path: string) => void, message: RegExp) => {
    const { path, frozen } = await frozenReader();
    change(path);
    const { status, stdout, stderr } = await run(frozen.path);
    t.deepEqual([status, stdout], [125, '']);
    t.regex(stderr, message);
    t.true(stderr.includes(`descriptor 3 (${path})`), stderr);
    t.is(stderr.split('\n').length, 2, 'one line');
  },
  title: what => `resume fails with one line and status 125 when ${what}`,
});

test('a file that it reads has grown', refuses, path => appendFileSync(path, 'x'), /its size differs/);
test(
  'a file that it reads was written again with the same size',
  refuses,
  path => {
    writeFileSync(path, 'abcdefghij');
    utimesSync(path, 1, 1);
  },
  /its time of change differs/,
);
test('a file that it reads is gone', refuses, unlinkSync, /ENOENT/);

test('resume fails when a file that it maps has become shorter', async t => {
  const { directory, frozen } = await freezeFixture('files/shared-file.c');
  writeFileSync(join(directory, 'data'), 'short');
  const { status, stderr } = await run(frozen.path);
  t.is(status, 125);
  t.regex(stderr, /\/data, which is mapped, is shorter than it was\n$/);
});

test('resume fails when somebody else holds a lock of the image', async t => {
  const { directory, frozen } = await freezeFixture('files/locks.c');
  const through = ['/usr/bin/flock', join(directory, 'whole')];
  const { status, stderr } = await run(frozen.path, { through });
  t.is(status, 125);
  t.regex(stderr, /lock on descriptor \d+ \(.*\/whole\): EAGAIN\n$/);
});

test('two second lives at the same time have files of their own', async t => {
  const { frozen } = await freezeFixture('files/deleted.c');
  const [one, other] = await Promise.all([run(frozen.path), run(frozen.path)]);
  t.is(one.stdout, other.stdout);
  t.is(one.status, 0);
});

test('resume raises the limit of open files as far as the image needs it', async t => {
  const { frozen } = await freezeFixture('files/regular.c');
  const low = await run(frozen.path, { through: ['/usr/bin/prlimit', '--nofile=100:1000'] });
  t.is(low.status, 0, low.stderr);
  t.regex(low.stdout, /its copy at 500: 2 'hi'/);
  const { status, stderr } = await run(frozen.path, { through: ['/usr/bin/prlimit', '--nofile=100:100'] });
  t.is(status, 125);
  t.regex(stderr, /open files \(ulimit -n\): EINVAL\n$/);
});
