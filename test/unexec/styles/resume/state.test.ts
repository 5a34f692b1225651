import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { compileFixture } from '../../../support/fixtures.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { run } from '../../../support/run.ts';
import {
  freezeFixture,
  freshDirectory,
  type StoryOptions,
  sameResult,
} from '../../../support/same-result.ts';

const same = test.macro({
  exec: async (t, fixture: string, options: StoryOptions = {}) => {
    await sameResult(t, `state/${fixture}.c`, options);
  },
  title: (what, fixture) => `resume gives back ${what ?? fixture}`,
});

test('threads with TLS, names, locks and conditions', same, 'threads');
test('mutexes to their owners: recursive, error-checking, robust, inheriting', same, 'mutexes');
test('mutexes to those that wait for them', same, 'waiting');
test('the number of the CPU, by rseq', same, 'cpu-number');
test('the number of the CPU where rseq cannot be registered', same, 'cpu-number', { avoid: ['rseq'] });
test('handlers, masks, and pending signals with their values', same, 'signals');
test('a handler of SIGTRAP', same, 'trap-handler');
test('a signal that a thread was just about to get', same, 'signal-storm');
test('a program that goes on after the freeze gets each signal once, with its value', async t => {
  const program = compileFixture('state/signal-storm.c');
  const path = `${freshDirectory()}.frozen`;
  const { report } = await freezeProgram(program, path, { at: 'stop', leaveRunning: true });
  t.teardown(() => killIfThere(report.pid));
  t.is(report.threads, 3);
  const said = (): string => readFileSync(`${path}.written`, 'utf8');
  for (let tries = 0; tries < 1000 && said() === ''; tries++) await setTimeout(10);
  t.is(said(), 'received 1500, 0 of them wrong\n');
});

/** A program that lost a signal would wait for ever. */
function killIfThere(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

test('alternate signal stacks, also one in use', same, 'alternate-stack');
test('SSE registers and control words', same, 'vectors', { at: 'request' });
test('the GS base of each thread', same, 'gs-base');
test('interval timers with what remained', same, 'interval-timers');
test('a periodic timer whose signal waits', same, 'interval-timers', { args: ['periodic'] });
test('timers of timer_create with their ids', same, 'posix-timers');
test('timers of timer_create where ids cannot be asked for', same, 'posix-timers', { avoid: ['timerIds'] });
test('timers of a static program', same, 'posix-timers', { flags: ['-static'] });
test('priorities, CPUs and what the process has said about itself', same, 'priorities');
test('advice, locks, guards and seals of memory', same, 'advice');
test('threads that wait, each in another call', same, 'sleeps', { at: 'request' });
test('the break, from which the heap grows', same, 'break', { args: ['strict'] });
test('a break that is set without PR_SET_MM_MAP', same, 'break', { args: ['strict'], avoid: ['mmMap'] });
test('clocks by the vdso of the kernel', same, 'clocks');
test('clocks by a vdso of system calls', same, 'clocks', { avoid: ['vdso'] });
test('directory, umask, name, limits and attributes', same, 'process');
test('guards, protections, sparse memory and a growing stack', same, 'memory');
test('anonymous memory, which is zero once it is discarded', same, 'discarded');
test('memory to be discarded by a static program', same, 'discarded', { flags: ['-static'] });
test('a program that is linked dynamically', same, 'plain');
test('a program without PIE', same, 'plain', { flags: ['-no-pie'] });
test('a static program', same, 'plain', { flags: ['-static'] });
test('a static PIE program', same, 'plain', { flags: ['-static-pie'] });
test('a static program with threads', same, 'threads', { flags: ['-static'] });
test('everything at once without the kernel features that may be missing', same, 'threads', {
  avoid: ['mmMap', 'vdso', 'rseq'],
});
test('threads where the vdso of the new process stays', same, 'threads', { avoid: ['unmapVdso'] });
test('clocks where the vdso of the new process stays', same, 'clocks', { avoid: ['unmapVdso'] });
test('everything at once, and the vdso stays', same, 'threads', {
  avoid: ['mmMap', 'vdso', 'rseq', 'timerIds', 'unmapVdso'],
});

/** A CPU without them cannot run the fixture: its uninterrupted run fails, and says why by its signal. */
test('AVX registers', same, 'vectors', { at: 'request', flags: ['-mavx2'] });
test('AVX-512 registers and masks', same, 'vectors', { at: 'request', flags: ['-mavx512f', '-mavx512bw'] });

test('clocks without addresses at random, where the vdso of the new process stays', async t => {
  const program = compileFixture('state/clocks.c');
  const path = `${freshDirectory()}.frozen`;
  const args = ['-R', program, freshDirectory()];
  const frozen = await freezeProgram('/usr/bin/setarch', path, { at: 'stop', args, avoid: ['unmapVdso'] });
  const whole = await run('/usr/bin/setarch', { args });
  const second = await run(path, { through: ['/usr/bin/setarch', '-R'] });
  t.is(frozen.written + second.stdout, whole.stdout);
  t.is(second.status, 0);
});

test('a mapped file that is named after its process is of each life its own', async t => {
  const { directory, frozen } = await freezeFixture('state/own-file.c');
  const [left] = readdirSync(directory);
  t.regex(left ?? '', /^\d+$/);
  for (const _ of [1, 2]) {
    const { stdout, status } = await run(frozen.path);
    t.deepEqual([stdout, status], ['counters go on\n', 0]);
    t.deepEqual(readdirSync(directory), []);
  }
});

test('resume wipes what MADV_WIPEONFORK marks, as a fork does', async t => {
  const { frozen } = await freezeFixture('state/memory.c', { args: ['tell'] });
  const { stdout, status } = await run(frozen.path);
  t.is(status, 0);
  t.regex(stdout, /^wiped: 1$/m);
});

test('a stack grows after each of many resumes, wherever ASLR puts the new process', async t => {
  const { frozen } = await freezeFixture('state/memory.c');
  for (let i = 0; i < 20; i++) {
    const { stdout, status, signal } = await run(frozen.path);
    t.deepEqual([status, signal], [0, null]);
    t.regex(stdout, /^deep 10, 1500$/m);
  }
});

const secondGeneration = test.macro({
  exec: async (t, flags: readonly string[]) => {
    const directory = freshDirectory();
    const { frozen } = await freezeFixture('state/plain.c', { flags });
    const again = await freezeProgram(frozen.path, `${directory}/again`, { at: 'stop', args: ['second'] });
    const third = await run(again.path);
    t.is(
      frozen.written + again.written + third.stdout,
      'heap 9 2\narguments\nafter the second freeze: heap 9\n',
    );
    t.is(third.status, 3);
  },
  title: what => `a resumed ${what} program can be frozen again`,
});

test('dynamic', secondGeneration, []);
test('static', secondGeneration, ['-static']);

const unprivileged = test.macro({
  exec: async (t, fixture: string) => {
    await sameResult(t, fixture, { resume: { unprivileged: true } });
  },
  title: (_, fixture) => `an ordinary user resumes ${fixture}`,
});

test(unprivileged, 'state/threads.c');
test(unprivileged, 'state/signals.c');
test(unprivileged, 'files/deleted.c');
test(unprivileged, 'files/pipes.c');
test(unprivileged, 'files/socketpairs.c');
test(unprivileged, 'files/timerfd.c');
