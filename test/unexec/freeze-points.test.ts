import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { UnexecError } from '../../unexec/errors.ts';
import { compileTo } from '../support/compile.ts';
import { type Frozen, freezeProgram } from '../support/freeze-program.ts';
import { run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('points');
let images = 0;

function compiled(fixture: string, flags: readonly string[] = []): string {
  const output = join(directory, `${fixture}-${images++}`);
  compileTo(output, join(ROOT, 'test/fixtures/points', fixture), flags);
  return output;
}

const landmark = compiled('landmark.c');
const late = compiled('late.c', ['-shared', '-fPIC']);
const writes = compiled('writes.c');
const ask = compiled('ask.c');

const frozenAt = (program: string, at: string, args: readonly string[] = []): Promise<Frozen> =>
  freezeProgram(program, join(directory, `image-${images++}`), { at, args });

/** Freezes at a point: what was said before it and after it. */
async function twoLives(
  t: ExecutionContext,
  program: string,
  at: string,
  args: readonly string[] = [],
): Promise<{ before: string; after: string; reached: string }> {
  const whole = await run(program, { args });
  const frozen = await frozenAt(program, at, args);
  const second = await run(frozen.path, { timeout: 20_000 });
  t.is(second.signal, null);
  t.is(second.status, whole.status);
  return { before: frozen.written, after: second.stdout + second.stderr, reached: frozen.report.reached };
}

async function refusal(t: ExecutionContext, freezing: Promise<unknown>): Promise<UnexecError> {
  const error = await t.throwsAsync(freezing, { instanceOf: UnexecError });
  if (error === undefined) throw new Error('not refused');
  return error;
}

test('request freezes where the program asks', async t => {
  const { before, after, reached } = await twoLives(t, ask, 'request');
  t.is(before, 'asking\n');
  t.regex(after, /^life 2/);
  t.is(reached, 'request');
});

test('stop freezes where the program stops itself, and a stop sent to it later stops it', async t => {
  const script = '$| = 1; print "one\\n"; kill STOP => $$; print "two\\n"; kill STOP => $$; print "three\\n"';
  const { before, after } = await twoLives(t, '/usr/bin/perl', 'stop', ['-e', script]);
  t.is(before, 'one\n');
  t.is(after, 'two\nthree\n');
});

test('input freezes where the program waits for input', async t => {
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // Opened for reading and writing: nobody ever writes, and it is no end of file either.
  const holder = execFileSync('/bin/sh', ['-c', `sleep 20 <>${pipe} >/dev/null 2>&1 & echo $!`], {
    encoding: 'utf8',
  });
  const writer = execFileSync('/bin/sh', ['-c', `sleep 20 >${pipe} 2>/dev/null </dev/null & echo $!`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 20_000,
  });
  const frozen = await freezeProgram('/usr/bin/perl', join(directory, 'input'), {
    at: 'input',
    stdin: pipe,
    args: ['-e', '$| = 1; print "prompt\\n"; while (<STDIN>) { print "got $_" } print "end\\n"'],
  });
  for (const pid of [holder, writer]) process.kill(Number(pid));
  t.is(frozen.written, 'prompt\n');
  const second = await run(frozen.path, { stdin: 'a\nb\n' });
  t.is(second.stdout, 'got a\ngot b\nend\n');
});

test('main freezes before main, and the arguments are those of each start', async t => {
  const frozen = await frozenAt('/bin/echo', 'main', ['first', 'life']);
  t.is(frozen.written, '');
  t.is((await run(frozen.path, { args: ['second', 'life'] })).stdout, 'second life\n');
  t.is((await run(frozen.path, { args: ['-n', 'a  b'] })).stdout, 'a  b');
  t.is((await run(frozen.path)).stdout, '\n');
});

test('main passes the environment of each start', async t => {
  const frozen = await frozenAt('/usr/bin/env', 'main', ['-i']);
  t.is((await run(frozen.path, { env: { MARKER: 'now', OTHER: '' } })).stdout, 'MARKER=now\nOTHER=\n');
  t.is((await run(frozen.path, { args: ['MARKER=then'], env: {} })).stdout, 'MARKER=then\n');
  t.is(
    (await run(frozen.path, { args: ['-u', 'A', 'printenv', 'B'], env: { A: '1', B: '2' } })).stdout,
    '2\n',
  );
});

test('main of ls lists what it is asked for', async t => {
  const frozen = await frozenAt('/bin/ls', 'main');
  const args = ['-a', join(ROOT, 'test/fixtures/points')];
  t.is((await run(frozen.path, { args })).stdout, (await run('/bin/ls', { args })).stdout);
});

for (const [how, flags] of [
  ['a program with symbols', []],
  ['a stripped program', ['-s']],
  ['a stripped program at a fixed address', ['-s', '-no-pie']],
  ['a static program', ['-static']],
] as const) {
  test(`main of ${how} gets new arguments`, async t => {
    const frozen = await frozenAt(compiled('ask.c', flags), 'main', ['first']);
    const second = await run(frozen.path, { args: ['one', 'two'], env: { MARKER: 'here' } });
    t.is(second.stdout, 'asking\nlife 1 [one] [two]\ngetenv here\n');
  });
}

test('main of a program without a main that can be found is an error', async t => {
  const error = await refusal(t, frozenAt(compiled('ask.c', ['-static', '-s']), 'main'));
  t.is(error.code, 'SYMBOL_NOT_FOUND');
  t.true(error.hint?.includes('output:'));
});

test('symbol freezes where a function of the program is entered', async t => {
  const { before, after } = await twoLives(t, landmark, 'symbol:landmark');
  t.is(before, 'started\n');
  t.is(after, 'landmark 2\nparent 1\ndone\n');
});

test('symbol freezes where a function of a library is entered', async t => {
  const { before, after } = await twoLives(t, landmark, 'symbol:getppid');
  t.is(before, 'started\nlandmark 2\n');
  t.is(after, 'parent 1\ndone\n');
});

test('symbol freezes where a function of a library that is opened later is entered', async t => {
  const { before, after } = await twoLives(t, landmark, 'symbol:late_function', [late]);
  t.is(before, 'started\nlandmark 3\nparent 1\nopened\n');
  t.is(after, 'late 42\ndone\n');
});

test('a thread that is frozen within dlopen() still owns the lock of ld.so, and gives it back', async t => {
  const { before, after } = await twoLives(t, landmark, 'symbol:late_started', [late, 'libm.so.6']);
  t.is(before, 'started\nlandmark 4\nparent 1\n');
  t.is(after, 'opened\nlate 42\ndone\n');
});

test('a thread that is frozen with a read-write lock held for writing gives it back', async t => {
  t.is((await twoLives(t, compiled('write-lock.c'), 'stop')).after, '2000\n');
});

test('symbol refuses a function that is chosen at run time', async t => {
  const error = await refusal(t, frozenAt(compiled('chosen.c'), 'symbol:chosen'));
  t.is(error.code, 'SYMBOL_IS_IFUNC');
});

test('symbol with a name that no library has is an error', async t => {
  for (const flags of [[], ['-static'], ['-static', '-s']]) {
    const error = await refusal(t, frozenAt(compiled('ask.c', flags), 'symbol:no_such_function'));
    t.is(error.code, 'SYMBOL_NOT_FOUND');
    t.regex(error.message, /no_such_function/);
    t.regex(error.hint ?? '', /nm -D/);
  }
});

test('symbol with a function that is never called is an error of another kind', async t => {
  const error = await refusal(t, frozenAt(landmark, 'symbol:setsid'));
  t.is(error.code, 'ENDED_BEFORE_FREEZE_POINT');
});

test('symbol finds its function in a program with threads and children, each time', async t => {
  const crowd = compiled('crowd.c');
  for (let i = 0; i < 10; i++) {
    const { after } = await twoLives(t, crowd, 'symbol:landmark');
    t.is(after, 'total 8004000\n');
  }
});

test('output freezes where a text is complete, however it was cut', async t => {
  const { before, after } = await twoLives(t, writes, 'output:here and');
  t.is(before, 'split herean error\n and there\n');
  t.is(after, 'gathered from parts\nthe end\n');
});

test('output finds text of writev and of stderr', async t => {
  const gathered = await twoLives(t, writes, 'output:gathered from');
  t.is(gathered.after, 'the end\n');
  const error = await twoLives(t, writes, 'output:error');
  t.is(error.before, 'split herean error\n');
});

test('output ignores what was not written, and text across two streams', async t => {
  t.is((await refusal(t, frozenAt(writes, 'output:nowhere'))).code, 'ENDED_BEFORE_FREEZE_POINT');
  t.is((await refusal(t, frozenAt(writes, 'output:herean'))).code, 'ENDED_BEFORE_FREEZE_POINT');
});

test('time freezes after so long, wherever the program is', async t => {
  const script = '$| = 1; for (1 .. 20) { select undef, undef, undef, 0.02; print "$_\\n" } ';
  const { before, after } = await twoLives(t, '/usr/bin/perl', 'time:200ms', ['-e', script]);
  t.is(before + after, Array.from({ length: 20 }, (_, i) => `${i + 1}\n`).join(''));
  t.true(before !== '' && after !== '');
});

test('a sleep goes on after the freeze, also one that a signal had interrupted before', async t => {
  const script =
    'import os, signal, threading, time\n' +
    'threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGWINCH)).start()\n' +
    'import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n' +
    'print("sleeping", flush=True)\n' +
    'spec = (ctypes.c_long * 2)(0, 500000000)\n' +
    'print(libc.nanosleep(spec, None), ctypes.get_errno(), libc.poll(None, 0, 10))';
  const { before, after } = await twoLives(t, '/usr/bin/python3', 'time:350ms', ['-c', script]);
  t.is(before, 'sleeping\n');
  t.is(after, '0 0 0\n');
});

test('syscall freezes at the n-th system call', async t => {
  const { before, after } = await twoLives(t, landmark, 'syscall:5');
  t.is(before, '');
  t.is(after, 'started\nlandmark 2\nparent 1\ndone\n');
});

test('auto takes the first of request, stop and input', async t => {
  t.is((await twoLives(t, ask, 'auto')).reached, 'request');
  const perl = await twoLives(t, '/usr/bin/perl', 'auto', ['-e', 'kill STOP => $$; print "on\\n"']);
  t.is(perl.reached, 'stop');
});

for (const at of ['request', 'stop', 'input', 'auto', 'output:never', 'time:10m', 'syscall:1000000']) {
  test(`a program that ends before ${at} is an error that names the others`, async t => {
    const target = join(directory, `ended-${images++}`);
    const error = await refusal(t, freezeProgram('/bin/sh', target, { at, args: ['-c', 'exit 3'] }));
    t.is(error.code, 'ENDED_BEFORE_FREEZE_POINT');
    t.regex(error.message, /exit status 3/);
    t.true(error.hint?.includes('symbol:NAME'));
    t.false(existsSync(target));
  });
}

test('a program that becomes another one is frozen as that', async t => {
  const script = 'exec /usr/bin/env perl -e \'$| = 1; print "one\\n"; kill STOP => $$; print "two\\n"\'';
  const { before, after } = await twoLives(t, '/bin/sh', 'stop', ['-c', script]);
  t.is(before, 'one\n');
  t.is(after, 'two\n');
  const atMain = await frozenAt('/bin/sh', 'symbol:getppid', ['-c', `exec ${landmark}`]);
  t.true(atMain.written === '' || atMain.written.startsWith('started'));
});

test('a script with pipelines and signals is frozen once its children have ended', async t => {
  const script =
    'trap "echo hup" HUP; echo one | cat | cat; x=$(echo two | tr a-z A-Z); echo $x; kill -HUP $$; ' +
    '(exit 3); echo $?; kill -STOP $$; echo $x; kill -HUP $BASHPID; echo three | cat';
  const { before, after } = await twoLives(t, '/bin/bash', 'stop', ['--norc', '-c', script]);
  t.is(before, 'one\nTWO\nhup\n3\n');
  t.is(after, 'TWO\nhup\nthree\n');
});

test('a process with a child is refused by its name', async t => {
  const error = await refusal(t, frozenAt('/bin/sh', 'stop', ['-c', 'sleep 5 & kill -STOP $$; wait']));
  t.is(error.code, 'CANNOT_BE_KEPT');
  t.true(error.reasons.some(({ code, what }) => code === 'CHILDREN' && what.includes('sleep')));
});

test('a process whose first thread has ended is refused at once', async t => {
  const error = await refusal(t, frozenAt(compiled('headless.c'), 'time:200ms'));
  t.is(error.code, 'MAIN_THREAD_ENDED');
});

test('a process that is waiting for a child in vfork is frozen or refused by the name of the child', async t => {
  const script =
    'import os\nfor i in range(400): os.posix_spawn("/bin/true", ["true"], {}); os.wait()\nprint("done")';
  for (const at of ['time:60ms', 'time:111ms', 'time:137ms', 'time:163ms', 'syscall:1700', 'syscall:1801']) {
    try {
      const { before, after } = await twoLives(t, '/usr/bin/python3', at, ['-c', script]);
      t.is(before + after, 'done\n');
    } catch (error) {
      if (!(error instanceof UnexecError)) throw error;
      t.is(error.code, 'CANNOT_BE_KEPT', error.message);
      t.deepEqual(
        error.reasons.map(({ code }) => code),
        ['CHILDREN'],
      );
    }
  }
});
