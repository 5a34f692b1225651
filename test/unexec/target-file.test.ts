import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { UnexecError } from '../../unexec/index.ts';
import { openTarget } from '../../unexec/target-file.ts';
import { perlArguments, unexec } from '../support/command.ts';
import { isRoot, PATH, run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const base = sandbox('target');
let count = 0;
function newDirectory(): string {
  const path = join(base, `${count++}`);
  mkdirSync(path);
  return path;
}

const refused = (t: ExecutionContext, target: string, code: string) =>
  t.throwsAsync(openTarget(target), { instanceOf: UnexecError, code });

test('openTarget() writes beside the target, and commit() puts it in its place', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  writeFileSync(path, 'old');
  const file = await openTarget(path);
  await file.handle.writeFile('new');
  t.is(readFileSync(path, 'utf8'), 'old');
  t.is(readFileSync(file.temporaryPath, 'utf8'), 'new');
  await file.commit();
  await file.abandon();
  t.is(readFileSync(path, 'utf8'), 'new');
  t.deepEqual(readdirSync(directory), ['out']);
});

test('abandon() removes the temporary file and leaves the target', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  writeFileSync(path, 'old');
  const file = await openTarget(path);
  await file.handle.writeFile('new');
  await file.abandon();
  t.is(readFileSync(path, 'utf8'), 'old');
  t.deepEqual(readdirSync(directory), ['out']);
});

test('whileClosed() lets the file be executed, and goes on with the same file', async t => {
  const directory = newDirectory();
  const file = await openTarget(join(directory, 'out'));
  await file.handle.writeFile(readFileSync('/bin/true'));
  t.throws(() => execFileSync(file.temporaryPath), { code: 'ETXTBSY' });
  await file.whileClosed(async () => execFileSync(file.temporaryPath));
  await file.handle.write('x', 0);
  await file.commit();
  t.is(readFileSync(join(directory, 'out'), 'latin1')[0], 'x');
});

test('whileClosed() refuses a file that was put in the place of ours', async t => {
  const directory = newDirectory();
  const file = await openTarget(join(directory, 'out'));
  writeFileSync(join(directory, 'other'), '');
  await t.throwsAsync(
    file.whileClosed(async () => renameSync(join(directory, 'other'), file.temporaryPath)),
    { instanceOf: UnexecError, code: 'TARGET_UNWRITABLE' },
  );
  await file.abandon();
});

// The umask belongs to the whole process: one test has all of them.
test('the file has mode 0700 less the umask, and is written under any', async t => {
  const directory = newDirectory();
  for (const umask of [0o022, 0o077, 0, 0o277, 0o777]) {
    const path = join(directory, `out${umask}`);
    const script = `umask ${umask.toString(8)}; exec "$@"`;
    const { status, stderr } = await run('/bin/sh', {
      args: ['-c', script, 'sh', process.execPath, WRITER, path],
      unprivileged: false,
    });
    t.is(status, 0, stderr);
    t.is(statSync(path).mode & 0o7777, 0o700 & ~umask, umask.toString(8));
  }
});
const WRITER = join(base, 'writer.mjs');
writeFileSync(
  WRITER,
  `import { openTarget } from ${JSON.stringify(new URL('../../unexec/target-file.js', import.meta.url).href)};
   const file = await openTarget(process.argv[2]);
   await file.handle.writeFile('x');
   await file.commit();`,
);

test('openTarget() refuses a symbolic link, dangling or not, and leaves it', async t => {
  const directory = newDirectory();
  const [link, dangling] = [join(directory, 'link'), join(directory, 'dangling')];
  writeFileSync(join(directory, 'file'), 'old');
  symlinkSync('file', link);
  symlinkSync('nothing', dangling);
  await refused(t, link, 'TARGET_IS_LINK');
  await refused(t, dangling, 'TARGET_IS_LINK');
  t.is(readlinkSync(link), 'file');
  t.is(readFileSync(link, 'utf8'), 'old');
  t.deepEqual(readdirSync(directory).sort(), ['dangling', 'file', 'link']);
});

test('commit() refuses a link that appeared meanwhile', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  const file = await openTarget(path);
  symlinkSync('/etc/passwd', path);
  await t.throwsAsync(file.commit(), { code: 'TARGET_IS_LINK' });
  await file.abandon();
  t.true(lstatSync(path).isSymbolicLink());
  t.deepEqual(readdirSync(directory), ['out']);
});

test('openTarget() refuses directories, and other things that are no files', async t => {
  const directory = newDirectory();
  await refused(t, directory, 'TARGET_IS_NOT_A_FILE');
  await refused(t, join(directory, 'new/'), 'TARGET_IS_NOT_A_FILE');
  await refused(t, '/', 'TARGET_IS_NOT_A_FILE');
  await refused(t, '/dev/null', 'TARGET_IS_NOT_A_FILE');
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  await refused(t, join(directory, 'fifo'), 'TARGET_IS_NOT_A_FILE');
});

test('openTarget() refuses a directory that does not exist, and a name that is too long', async t => {
  const directory = newDirectory();
  await refused(t, join(directory, 'no/out'), 'TARGET_UNWRITABLE');
  writeFileSync(join(directory, 'file'), '');
  await refused(t, join(directory, 'file/out'), 'TARGET_UNWRITABLE');
  await refused(t, join(directory, 'x'.repeat(256)), 'TARGET_UNWRITABLE');
});

test('openTarget() takes any name that a file may have', async t => {
  const directory = newDirectory();
  for (const name of ['.hidden', 'a..b', '..x', 'é'.repeat(127), ' ', '-n', 'new\nline']) {
    const file = await openTarget(join(directory, name));
    await file.commit();
    t.true(existsSync(join(directory, name)), name);
  }
});

test("openTarget() refuses another user's file, even for root", async t => {
  const path = isRoot ? join(newDirectory(), 'out') : '/etc/passwd';
  if (isRoot) {
    writeFileSync(path, 'old');
    chownSync(path, 65534, 65534);
  }
  const error = await refused(t, path, 'TARGET_NOT_OURS');
  t.regex(error?.message ?? '', isRoot ? /user 65534, not to user 0/ : /user 0/);
});

const perl = (target: string, code = 'print "new"'): readonly string[] => perlArguments(target, code);

test('unexec exits with 5 for a directory that may not be written, and leaves the old target', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  writeFileSync(path, 'old');
  if (isRoot) chownSync(path, 65534, 65534);
  chmodSync(directory, 0o555);
  const { status, stderr } = await unexec(perl(path), { unprivileged: true, cwd: '/' });
  t.is(status, 5, stderr);
  t.regex(stderr, /no file can be made in .*: EACCES\n {2}hint: /);
  t.is(readFileSync(path, 'utf8'), 'old');
  t.deepEqual(readdirSync(directory), ['out']);
});

/** Perl with memory that the image needs room for. */
const large = (target: string): readonly string[] => [
  '/usr/bin/perl',
  target,
  '--',
  '-e',
  '$x = "x" x (64 << 20); kill STOP => $$; print "new"',
];

/** A small file system that only this run sees; root and ordinary users can have one. */
const ON_SMALL_FILE_SYSTEM = `
  cd "$0" && mount -t tmpfs -o size=16m tmpfs . && cd "$0" || exit 99
  printf old >out
  "$@"
  status=$?
  cat out && ls -A
  exit $status`;

test('unexec exits with 5 when the file system is full, and leaves the old target', async t => {
  const directory = newDirectory();
  const namespaces = isRoot ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
  const { status, stdout, stderr } = await unexec(large(join(directory, 'out')), {
    through: ['/usr/bin/unshare', ...namespaces, '/bin/sh', '-c', ON_SMALL_FILE_SYSTEM, directory],
  });
  t.is(status, 5, stderr);
  t.regex(stderr, /cannot be written: there is no space left\n {2}hint: make room/);
  t.is(stdout, 'oldout\n');
});

test('unexec exits with 5 when the file would be larger than allowed, and leaves the old target', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  writeFileSync(path, 'old');
  const { status, stderr } = await unexec(large(path), {
    through: ['/usr/bin/prlimit', `--fsize=${32 << 20}`, '--'],
  });
  t.is(status, 5, stderr);
  t.regex(stderr, /larger than allowed\n {2}hint: see ulimit -f/);
  t.is(readFileSync(path, 'utf8'), 'old');
  t.deepEqual(readdirSync(directory), ['out']);
});

test('unexec replaces an executable that is running, which goes on as it was', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  t.is((await unexec(perl(path, 'print "old"; <STDIN>; print " goes on"; POSIX::_exit(0) if 0'))).status, 0);
  const before = statSync(path).ino;
  const running = spawn(path, { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH } });
  let said = '';
  running.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise(resolve => running.on('close', resolve));
  t.is((await unexec(perl(path))).status, 0);
  t.not(statSync(path).ino, before);
  t.is((await run(path)).stdout, 'new');
  running.stdin.end('go\n');
  t.is(await ended, 0);
  t.is(said, 'old goes on');
});

test('a file that is open for writing can be replaced too', async t => {
  const directory = newDirectory();
  const path = join(directory, 'out');
  copyFileSync('/bin/true', path);
  const handle = await open(path, 'r+');
  const held = openSync(path, 'r');
  const { status, stderr } = await unexec(perl(path));
  await handle.close();
  t.is(status, 0, stderr);
  t.is((await run(path)).stdout, 'new');
  t.deepEqual(readFileSync(held), readFileSync('/bin/true'));
  closeSync(held);
});
