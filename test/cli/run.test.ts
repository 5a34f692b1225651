import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import test from 'ava';
import { COMMAND, perlArguments, unexec } from '../support/command.ts';
import { isRoot, PATH, run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('command');
let count = 0;
const newTarget = (): string => join(directory, `out${count++}`);
/** A directory of its own for one test. */
const newDirectory = (): string => {
  const path = join(directory, `directory${count++}`);
  mkdirSync(path);
  return path;
};

test('unexec writes an executable that goes on, and tells so on stderr only', async t => {
  const target = newTarget();
  const { status, stdout, stderr } = await unexec(perlArguments(target, 'print "second"'));
  t.is(status, 0, stderr);
  t.is(stdout, '');
  t.regex(stderr, new RegExp(`^written ${target}\n  frozen +/usr/bin/perl at stop, after `));
  t.regex(stderr, /^ {2}file +\S+ MiB, \S+ MiB stored of \S+ MiB of memory$/m);
  t.regex(stderr, /^ {2}stopped +\S+ ms of /m);
  t.is((await run(target)).stdout, 'second');
});

test('unexec is silent with --quiet', async t => {
  const { status, stdout, stderr } = await unexec(['--quiet', ...perlArguments(newTarget(), '1')]);
  t.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('unexec still tells errors with --quiet', async t => {
  const { status, stderr } = await unexec(['--quiet', '/no/such/program', newTarget()]);
  t.is(status, 6);
  t.regex(stderr, /no such program/);
});

test('unexec lists regions and steps with --verbose', async t => {
  const { status, stderr } = await unexec(['--verbose', ...perlArguments(newTarget(), '1')]);
  t.is(status, 0, stderr);
  t.regex(stderr, /^ *0x[0-9a-f]+ .* rw-p +heap +\[heap\]$/m);
  t.regex(stderr, /^ *\d+ +SYSCALL +umask +0x/m);
  t.regex(stderr, /^ *\d+ +SIGRETURN +registers of thread \d+/m);
});

test('unexec with --json writes one object to stdout and moves the program to stderr', async t => {
  const target = newTarget();
  const script = '$| = 1; print "first"; kill STOP => $$; print "second"';
  const { status, stdout, stderr } = await unexec(['--json', '/usr/bin/perl', target, '--', '-e', script]);
  t.is(status, 0, stderr);
  t.is(stderr, 'first');
  const report = JSON.parse(stdout);
  t.like(report, { ok: true, exitCode: 0, program: '/usr/bin/perl', target, reached: 'stop', threads: 1 });
  t.is(report.fileSize, readFileSync(target).length);
  t.true(report.storedBytes > 0 && report.storedBytes <= report.memoryBytes);
  t.true(report.milliseconds.stopped > 0 && report.milliseconds.total > report.milliseconds.stopped);
  t.is((await run(target)).stdout, 'second');
});

test('unexec with --json and --verbose has the manifest and every step', async t => {
  const { stdout } = await unexec(['--json', '--verbose', ...perlArguments(newTarget(), '1')]);
  const report = JSON.parse(stdout);
  t.is(report.manifest.regions.length, report.regions);
  t.is(report.restoreSteps.length, report.steps);
  t.is(report.restoreSteps.at(-1).op.length > 0, true);
});

test('unexec with --json tells errors as one object on stdout', async t => {
  const { status, stdout, stderr } = await unexec(['--json', '/usr/bin/perl', newTarget(), '--', '-e', '0']);
  t.is(stderr, '');
  const { ok, exitCode, error } = JSON.parse(stdout);
  t.deepEqual([status, ok, exitCode, error.code], [4, false, 4, 'ENDED_BEFORE_FREEZE_POINT']);
  t.regex(error.hint, /--at/);
});

test('unexec with --json tells a wrong command line as an object too', async t => {
  const { status, stdout } = await unexec(['--json', 'x']);
  t.is(status, 2);
  t.is(JSON.parse(stdout).error.code, 'USAGE');
});

test('unexec goes on when the reader of its output has gone', async t => {
  const target = newTarget();
  const { status } = spawnSync('/bin/bash', [
    '-c',
    'set -o pipefail; "$@" 2>&1 | true',
    'bash',
    process.execPath,
    COMMAND,
    ...perlArguments(target, '1'),
  ]);
  t.is(status, 0);
  t.true(existsSync(target));
});

const onTerminal = (env: Readonly<Record<string, string>>): string => {
  const command = [process.execPath, COMMAND, ...perlArguments(newTarget(), '1')];
  const words = command.map(word => `'${word}'`).join(' ');
  return spawnSync('/usr/bin/script', ['-qec', words, '/dev/null'], {
    encoding: 'utf8',
    env: { PATH, TERM: 'xterm', ...env },
    input: '',
  }).stdout;
};

test('unexec has colours on a terminal, and not with NO_COLOR', t => {
  const coloured = onTerminal({});
  t.regex(stripVTControlCharacters(coloured), /written /);
  t.not(stripVTControlCharacters(coloured), coloured);
  const plain = onTerminal({ NO_COLOR: '1' });
  t.regex(plain, /written /);
  t.is(stripVTControlCharacters(plain), plain);
});

const SECRET = 'UNEXEC_TEST_MARKER_5d1f';

test('unexec keeps nothing of our environment in the file, unless asked', async t => {
  const env = { PATH, MARKER: SECRET, OTHER: 'other-value' };
  const found = async (...options: readonly string[]): Promise<boolean> => {
    const target = newTarget();
    const { status, stderr } = await unexec([...options, ...perlArguments(target, '1')], { env });
    t.is(status, 0, stderr);
    return readFileSync(target).includes(SECRET);
  };
  t.false(await found());
  t.true(await found('--keep-env'));
  t.true(await found('--env', 'MARKER'));
  t.false(await found('--env', 'OTHER', '--env', 'X=y'));
});

test('unexec kills the program after the freeze', async t => {
  const target = newTarget();
  const left = join(directory, 'left');
  const script = 'open my $f, ">", $ARGV[0]; print $f $$; close $f; kill STOP => $$; sleep 1000';
  const { status, stderr } = await unexec(['/usr/bin/perl', target, '--', '-e', script, left]);
  t.is(status, 0, stderr);
  t.false(existsSync(`/proc/${readFileSync(left, 'utf8')}`));
});

test('unexec with --leave-running lets the program go on', async t => {
  const target = newTarget();
  const finished = join(directory, 'finished');
  const script = 'kill STOP => $$; open my $f, ">", $ARGV[0]; print $f $$';
  const { status, stdout, stderr } = await unexec([
    '--json',
    '--leave-running',
    '/usr/bin/perl',
    target,
    '--',
    '-e',
    script,
    finished,
  ]);
  t.is(status, 0, stderr);
  const { pid } = JSON.parse(stdout);
  for (let i = 0; i < 500 && existsSync(`/proc/${pid}`); i++) await new Promise(done => setTimeout(done, 10));
  t.is(readFileSync(finished, 'utf8'), `${pid}`);
});

const failures: readonly (readonly [
  title: string,
  status: number,
  args: readonly string[],
  stderr: RegExp,
])[] = [
  ['a wrong command line', 2, ['--nonsense'], /unknown option/],
  [
    'a program that holds what cannot be kept',
    3,
    ['/usr/bin/perl', 'OUT', '--', '-e', 'if (fork) { kill STOP => $$ } else { sleep 2 }'],
    /^ {2}- .*children.*\n {4}remedy: /m,
  ],
  [
    'a program that ends first',
    4,
    ['/usr/bin/perl', 'OUT', '--', '-e', 'exit 7'],
    /ended \(exit status 7\) before its freeze point auto\n {2}hint: /,
  ],
  [
    'a function that is not there',
    4,
    ['--at', 'symbol:no_such', '/usr/bin/perl', 'OUT', '--', '-e', '0'],
    /no_such|before its freeze point/,
  ],
  [
    'a target in no directory',
    5,
    ['/usr/bin/perl', '/no/such/dir/x', '--', '-e', '0'],
    /no file can be made in \/no\/such\/dir: ENOENT/,
  ],
  ['a program that does not exist', 6, ['/no/such/program', 'OUT'], /no such program/],
  ['a program that is not executable', 6, ['/etc/passwd', 'OUT'], /not executable/],
];
for (const [title, expected, args, message] of failures) {
  test(`unexec exits with ${expected} for ${title}, and leaves nothing`, async t => {
    const own = newDirectory();
    const { status, stdout, stderr } = await unexec(
      args.map(arg => (arg === 'OUT' ? join(own, 'out') : arg)),
      { cwd: own },
    );
    t.is(status, expected, stderr);
    t.is(stdout, '');
    t.regex(stderr, message);
    t.deepEqual(readdirSync(own), []);
  });
}

test('unexec exits with 3 for a setuid program', async t => {
  const own = newDirectory();
  const program = join(own, 'setuid');
  copyFileSync('/bin/true', program);
  chmodSync(program, 0o4755);
  const { status, stderr } = await unexec([program, join(own, 'out')]);
  t.is(status, 3);
  t.regex(stderr, /setuid/);
});

test('unexec exits with 6 for a script whose interpreter is missing', async t => {
  const own = newDirectory();
  const program = join(own, 'script');
  writeFileSync(program, '#!/no/such/interpreter\n', { mode: 0o755 });
  const { status, stderr } = await unexec([program, join(own, 'out')]);
  t.is(status, 6, stderr);
});

test('unexec works for an ordinary user', async t => {
  if (!isRoot) t.log('we are one already');
  const own = newDirectory();
  chmodSync(own, 0o777);
  const target = join(own, 'out');
  const { status, stderr } = await unexec(perlArguments(target, 'print "uid $<"'), {
    unprivileged: true,
    cwd: own,
  });
  t.is(status, 0, stderr);
  const { stdout } = await run(target, { unprivileged: true });
  t.is(stdout, `uid ${isRoot ? 65534 : process.getuid?.()}`);
});
