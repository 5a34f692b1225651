/**
 * A process that runs is frozen by the command, as a user would: both the process and what was written go on, each
 * with the same result as if nothing had been.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { syscall } from '../../../unexec/linux/libc.ts';
import { O } from '../../../unexec/linux/open-flags.ts';
import { readStatus, threadState } from '../../../unexec/linux/proc.ts';
import { COMMAND, unexec } from '../../support/command.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { directoryForNobody } from '../../support/freeze-program.ts';
import { type Outcome, run } from '../../support/run.ts';
import { type Running, start } from '../../support/running.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('attach');
const waits = compileFixture('attach/waits.c');
const churn = compileFixture('attach/churn.c');
const hold = compileFixture('attach/protected.c');

/** Counts until a file is there. */
const COUNTING =
  '$| = 1; until (-e $ARGV[0]) { print ++$i, "\n"; select undef, undef, undef, 0.02 } print "end\n"; exit 3';

let count = 0;
/** Starts a program for a test; it ends with the test. */
function running(
  t: ExecutionContext,
  command: readonly string[],
  options: Parameters<typeof start>[2] = {},
): Running {
  const program = start(command, join(directory, `log-${count++}`), options);
  t.teardown(() => program.end());
  return program;
}

interface Counting extends Running {
  /** Lets it come to its end, which is looked at. */
  finish(): Promise<void>;
  /** At which it comes to its end. */
  readonly file: string;
}

/** A process that counts, and has begun to. */
async function counting(t: ExecutionContext, before: readonly string[] = []): Promise<Counting> {
  const file = join(directory, `finish-${count++}`);
  const program = running(t, [...before, '/usr/bin/perl', '-e', COUNTING, file]);
  await program.says('3\n');
  return {
    ...program,
    file,
    async finish() {
      writeFileSync(file, '');
      t.is(await program.ended(), 3);
      t.true(isCount(program.written(), 1), program.written());
    },
  };
}

/** All numbers from the first one on, and the end. */
function isCount(text: string, first: number): boolean {
  const lines = text.split('\n');
  return text.endsWith('end\n') && lines.slice(0, -2).every((line, i) => Number(line) === first + i);
}

/** The image counts on from where it was. `program` has come to its end: its file is there. */
async function goesOnCounting(t: ExecutionContext, program: Counting, path: string): Promise<void> {
  const { stdout, status } = await run(path);
  const [first = ''] = stdout.split('\n');
  t.true(stdout === 'end\n' || (Number(first) > 1 && isCount(stdout, Number(first))), stdout);
  t.is(status, 3);
  t.false(program.written() === '');
}

const fresh = (): string => join(directory, `image-${count++}`);

async function frozen(t: ExecutionContext, pid: number, ...options: readonly string[]) {
  const target = fresh();
  const { status, stdout, stderr } = await unexec(['--json', ...options, String(pid), target]);
  t.is(status, 0, stderr + stdout);
  return { target, report: JSON.parse(stdout) };
}

test.serial(
  'a process that waits in every way is frozen, and neither it nor its image sees that',
  async t => {
    const whole = await run(waits, { args: ['8'] });
    const program = running(t, [waits, '8']);
    await program.says('ready');
    await sleep(300);
    // More than once: what one stop has left behind, the next one would find.
    for (let i = 0; i < 3; i++) await frozen(t, program.pid);
    const before = program.written();
    const { target, report } = await frozen(t, program.pid);
    t.is(report.pid, program.pid);
    t.is(report.reached, 'now');
    t.is(report.threads, 10);
    t.is(before, 'ready\n', 'the waits ended before they were frozen');
    t.is(await program.ended(), 3);
    t.is(program.written(), whole.stdout);
    const second = await run(target);
    t.deepEqual([before + second.stdout, second.stderr, second.status], [whole.stdout, '', 3]);
  },
);

test.serial('threads that start and end while a process is frozen are all found', async t => {
  const file = fresh();
  const program = running(t, [churn, file]);
  await program.says('ready');
  const targets: string[] = [];
  for (let i = 0; i < 8; i++) {
    const { target, report } = await frozen(t, program.pid);
    t.true(report.threads >= 21, `${report.threads} threads`);
    targets.push(target);
  }
  writeFileSync(file, '');
  t.is(await program.ended(), 0);
  for (const target of targets) {
    const { stdout, status } = await run(target);
    t.regex(stdout, /^(\d+) started, \1 ran\n$/);
    t.is(status, 0);
  }
});

test.serial('a process goes on before its file is written where there is memory for a copy', async t => {
  const program = await counting(t);
  const { target, report } = await frozen(t, program.pid);
  t.true(
    report.copiedBytes >= report.storedBytes,
    `${report.copiedBytes} copied, ${report.storedBytes} stored`,
  );
  t.true(report.copiedBytes < 2 * report.storedBytes + (4 << 20));
  t.true(report.milliseconds.stopped < report.milliseconds.total);
  const held = await frozen(t, program.pid, '--copy-limit', '0');
  t.is(held.report.copiedBytes, undefined);
  t.true(held.report.milliseconds.contents < held.report.milliseconds.stopped);
  await program.finish();
  for (const path of [target, held.target]) await goesOnCounting(t, program, path);
});

test.serial('the report tells how long a process stood, and why', async t => {
  const program = await counting(t);
  const copied = await unexec([String(program.pid), fresh()]);
  t.regex(copied.stderr, /frozen +\/usr\/bin\/perl where it was, after/);
  t.regex(copied.stderr, /stopped +\S+ m?s of \S+ m?s: it went on when \S+ \S+ were copied/);
  t.regex(copied.stderr, new RegExp(`running +process ${program.pid} goes on`));
  const held = await unexec(['--copy-limit=0', '--pid', String(program.pid), fresh()]);
  t.regex(held.stderr, /until the file had its contents, for want of memory/);
});

test.serial('--kill ends a process when it is frozen', async t => {
  const program = await counting(t);
  const { target, report } = await frozen(t, program.pid, '--kill');
  t.is(report.pid, undefined);
  t.is(await program.ended(), 'signal 9');
  writeFileSync(program.file, '');
  const { stdout } = await run(target);
  t.true(isCount(program.written() + stdout, 1));
});

const points: readonly (readonly [point: string, reached: string])[] = [
  ['output:20', 'output'],
  ['symbol:write', 'symbol'],
  ['time:200ms', 'time'],
  ['syscall:5', 'syscall'],
];
for (const [point, reached] of points) {
  test.serial(`a process that runs comes to --at ${point}, and goes on`, async t => {
    const program = await counting(t);
    const { target, report } = await frozen(t, program.pid, '--at', point);
    t.is(report.reached, reached);
    await program.finish();
    await goesOnCounting(t, program, target);
  });
}

test.serial('a process that waits for input already is at --at input', async t => {
  for (const reader of [
    'print "ready\n"; print "got " . <STDIN>',
    'select($r = "\x01", undef, undef, undef); print "got " . <STDIN>',
  ]) {
    const [input, feed] = pipe();
    const program = running(t, ['/usr/bin/perl', '-e', `$| = 1; print "ready\n"; ${reader}`], {
      stdin: input,
    });
    closeSync(input);
    await program.says('ready');
    const { target, report } = await frozen(t, program.pid, '--at', 'input');
    t.is(report.reached, 'input');
    const { stdout } = await run(target, { stdin: 'second\n' });
    t.is(stdout, 'got second\n');
    writeFileSync(feed, 'first\n');
    t.is(await program.ended(), 0);
    t.regex(program.written(), /got first\n$/);
    closeSync(feed);
  }
});

test.serial('a freeze point that a running process cannot come to is refused', async t => {
  const program = await counting(t);
  for (const point of ['main', 'stop']) {
    const { status, stdout } = await unexec(['--json', '--at', point, String(program.pid), fresh()]);
    t.is(status, 2);
    t.is(JSON.parse(stdout).error.code, 'FREEZE_POINT_PASSED');
  }
  const { status, stderr } = await unexec(['--at', 'now', '/usr/bin/perl', fresh()]);
  t.is(status, 2);
  t.regex(stderr, /a program that is to be started is nowhere yet/);
});

test.serial('a stopped process is frozen, stays stopped, and goes on when it is told to', async t => {
  const program = await counting(t);
  process.kill(program.pid, 'SIGSTOP');
  await program.becomes('T');
  const { target } = await frozen(t, program.pid);
  await sleep(100);
  t.is(threadState(program.pid), 'T');
  process.kill(program.pid, 'SIGCONT');
  await program.finish();
  await goesOnCounting(t, program, target);
});

test.serial('signals that come while a process is frozen all reach it', async t => {
  const code =
    '$| = 1; $SIG{$_} = sub { $n{$_[0]}++ } for qw(USR1 USR2 TERM); print "ready\n"; ' +
    'my $end = time + 12; select undef, undef, undef, 0.01 while time < $end; print join " ", map "$_=$n{$_}", sort keys %n';
  const program = running(t, ['/usr/bin/perl', '-e', code]);
  await program.says('ready');
  const { pid } = program;
  const freezing = Promise.all([frozen(t, pid), frozenLater(t, pid)]);
  for (let i = 0; i < 40; i++) {
    for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const) process.kill(pid, signal);
    await sleep(10);
  }
  await freezing;
  t.is(await program.ended(), 0);
  const counts = Object.fromEntries(
    program
      .written()
      .split('\n')[1]
      ?.split(' ')
      .map(word => word.split('=')) ?? [],
  );
  // Each is pending once at the most, so several become one while the process stands.
  for (const signal of ['USR1', 'USR2', 'TERM']) t.true(Number(counts[signal]) > 5, JSON.stringify(counts));
});

/** One at a time: a process has one tracer. */
async function frozenLater(t: ExecutionContext, pid: number): Promise<void> {
  await sleep(4000);
  await frozen(t, pid);
}

test.serial('unexec that gets SIGTERM while it waits for a freeze point lets the process go on', async t => {
  for (const point of ['output:never', 'symbol:exit', 'input', 'time:1m']) {
    const program = await counting(t);
    const child = spawn(process.execPath, [COMMAND, '--at', point, String(program.pid), fresh()], {
      stdio: 'ignore',
    });
    const end = new Promise<number | null>(resolve => child.on('close', resolve));
    while (readStatus(program.pid).get('TracerPid') === '0') await sleep(10);
    await sleep(50);
    child.kill('SIGTERM');
    t.is(await end, 143, point);
    await program.finish();
  }
});

/** A process that does sums, and whether they were right when it is told to come to its end. */
async function steady(t: ExecutionContext): Promise<{ readonly pid: number; finish(): Promise<void> }> {
  const file = fresh();
  const program = running(t, [compileFixture('attach/steady.c'), file]);
  await program.says('ready');
  return {
    pid: program.pid,
    async finish() {
      writeFileSync(file, '');
      t.is(await program.ended(), 3);
      t.is(program.written(), 'ready\n0 wrong, strings as before\n');
    },
  };
}

test.serial(
  'a process goes on as it was when unexec is killed while a thread makes a call for it',
  async t => {
    const program = await steady(t);
    const dying = fileURLToPath(new URL('../../support/die-while-calling.js', import.meta.url));
    // Each of the five threads, after the first call and after several.
    for (let i = 0; i < 10; i++) {
      const args = [dying, String(program.pid), String(1 + 3 * (i % 2)), String(i >> 1)];
      const { stdout, stderr, signal } = await run(process.execPath, { args });
      t.deepEqual([stdout, signal], ['calling\n', 'SIGKILL'], stderr);
      await sleep(20);
      t.is(readStatus(program.pid).get('TracerPid'), '0');
    }
    await program.finish();
  },
);

test.serial('a process goes on as it was when unexec is killed at any moment', async t => {
  const program = await steady(t);
  let held = 0;
  for (let i = 0; i < 25; i++) {
    const child = spawn(process.execPath, [COMMAND, String(program.pid), fresh()], { stdio: 'ignore' });
    const end = new Promise<NodeJS.Signals | null>(resolve =>
      child.on('close', (_, signal) => resolve(signal)),
    );
    while (child.exitCode === null && readStatus(program.pid).get('TracerPid') === '0') await sleep(1);
    await sleep(3 * i);
    if (readStatus(program.pid).get('TracerPid') !== '0') held++;
    child.kill('SIGKILL');
    await end;
  }
  t.true(held > 3, `only ${held} were killed while they held the process`);
  await program.finish();
});

test.serial(
  'descriptors 0 to 2 become those of whoever starts the image, and what ends elsewhere is refused by name',
  async t => {
    const [input, feed] = pipe();
    const [, other] = pipe();
    const code = '$| = 1; print STDERR "ready\n"; while (<STDIN>) { print "out $_" }';
    const program = running(t, ['/usr/bin/perl', '-e', code], {
      stdin: input,
      stdout: other,
      descriptors: new Map([[7, other]]),
    });
    await program.says('ready');
    const { target } = await frozen(t, program.pid);
    t.is((await run(target, { stdin: 'a\nb\n' })).stdout, 'out a\nout b\n');

    const third = running(t, ['/usr/bin/perl', '-e', `$| = 1; print "ready\n"; sleep 60`], {
      descriptors: new Map([[7, other]]),
    });
    await third.says('ready');
    const refused = await unexec(['--json', String(third.pid), fresh()]);
    t.is(refused.status, 3);
    const { reasons } = JSON.parse(refused.stdout).error;
    t.is(reasons[0].code, 'FD_OUTSIDE_PIPE');
    t.regex(reasons[0].what, /descriptor 7/);
    t.regex(reasons[0].remedy, /--drop-fd 7/);
    t.is(threadState(third.pid), 'S', 'it goes on after a refusal');
    await frozen(t, third.pid, '--drop-fd', '7');
    for (const fd of [input, feed, other]) closeSync(fd);
  },
);

test.serial('a process on a terminal of its own is frozen, and its image runs without one', async t => {
  const script = join(directory, 'on-terminal.pl');
  writeFileSync(
    script,
    '$| = 1; open T, ">", "/dev/tty" or die; while (<STDIN>) { print -t STDIN ? "terminal" : "pipe", " $_" }',
  );
  // script(1) makes the terminal and a session; what is typed comes from a pipe that stays open.
  const [input, feed] = pipe();
  const session = running(t, ['/usr/bin/script', '-qefc', `exec /usr/bin/perl ${script}`, '/dev/null'], {
    stdin: input,
  });
  writeFileSync(feed, 'typed\n');
  await session.says('terminal typed');
  const [pid = 0] = execFileSync('pgrep', ['-f', `^/usr/bin/perl ${script}`], { encoding: 'utf8' })
    .split('\n')
    .map(Number);
  const { target } = await frozen(t, pid);
  t.is((await run(target, { stdin: 'given\n' })).stdout, 'pipe given\n');
  writeFileSync(feed, 'again\n');
  await session.says('terminal again');
  for (const fd of [input, feed]) closeSync(fd);
});

test.serial('anyone may freeze their own process without being root', async t => {
  const own = directoryForNobody(directory);
  const nobody = ['/usr/bin/setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--'];
  const program = await counting(t, nobody);
  const target = join(own, 'image');
  const { status, stdout, stderr } = await unexecAsNobody(['--json', String(program.pid), target]);
  t.is(status, 0, stdout + stderr);
  await program.finish();
  await goesOnCounting(t, program, target);
});

const unexecAsNobody = (args: readonly string[]): Promise<Outcome> =>
  run(process.execPath, { args: [COMMAND, ...args], unprivileged: true, cwd: '/' });

test.serial('a process that holds nothing else is frozen while another one is, and both go on', async t => {
  const programs = [running(t, [hold]), running(t, [hold])];
  for (const program of programs) await program.says('ready');
  const images = await Promise.all(programs.map(({ pid }) => frozen(t, pid)));
  t.is(images.length, 2);
  for (const { pid } of programs) t.is(threadState(pid), 'S');
});

test.serial('a frozen process starts by its own command line where its image cannot go on', async t => {
  const gone = join(directory, 'gone');
  writeFileSync(gone, 'one\ntwo\n');
  const code =
    '$| = 1; print "ready\n"; open F, "<", shift; sleep 60 if <F> eq "one\n"; print "started again\n"';
  const program = running(t, ['/usr/bin/perl', '-e', code, gone]);
  await program.says('ready');
  await sleep(100);
  const { target } = await frozen(t, program.pid, '--or-start');
  writeFileSync(gone, 'changed\n');
  const { stdout, stderr } = await run(target);
  t.is(stdout, 'ready\nstarted again\n');
  t.regex(stderr, /gone/);
  t.is(readFileSync(gone, 'utf8'), 'changed\n');
});

function pipe(): [reader: number, writer: number] {
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.CLOEXEC);
  const view = new DataView(ends.buffer);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}
