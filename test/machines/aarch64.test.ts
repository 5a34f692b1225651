/**
 * Live processes of aarch64: frozen on a kernel of aarch64 and resumed there. On any other machine that is an
 * emulated one, which is booted once for all tests here.
 */
import test from 'ava';
import { compileForArm, onArm } from '../support/arm-machine.ts';
import type { FreezeJob, JobOutcome } from '../support/freeze-jobs.ts';

type Wanted = Partial<FreezeJob> & {
  /** Arguments of the compiler. */
  readonly flags?: readonly string[];
  readonly title: string;
};

const fixture = (name: string, { flags, title, ...job }: Wanted): FreezeJob => ({
  program: compileForArm(`${name}.c`, flags),
  name: title,
  options: { at: 'stop' },
  ...job,
});

const PERL = `
  my %words = map { $_ => length } qw(one three seventeen);
  $| = 1; print "loaded\\n";
  while (my $line = <STDIN>) { chomp $line; print "$line: ", $words{$line} // 'unknown', "\\n"; }
  exit 4;`;
const PYTHON = `
import sys
words = {word: len(word) for word in ('one', 'three', 'seventeen')}
print('loaded', flush=True)
for line in sys.stdin:
    print(line.strip(), words.get(line.strip()))
sys.exit(5)`;
const LINES = 'one\nseventeen\nfour\n';

const asking = (name: string, program: string, args: readonly string[]): FreezeJob => ({
  name,
  program,
  args,
  ownDirectory: false,
  options: { at: 'output:loaded' },
  stdin: LINES,
});

const WANTED: readonly [name: string, wanted: Wanted][] = [
  ['state/plain', { title: 'a program that is linked dynamically' }],
  ['state/plain', { title: 'a static program', flags: ['-static'] }],
  ['state/plain', { title: 'a program without PIE', flags: ['-no-pie'] }],
  ['state/plain', { title: 'a program at main', options: { at: 'main' } }],
  ['state/threads', { title: 'threads with TLS, names, locks and conditions' }],
  ['state/threads', { title: 'a static program with threads', flags: ['-static'] }],
  ['state/mutexes', { title: 'mutexes to their owners' }],
  ['state/waiting', { title: 'mutexes to those that wait for them' }],
  ['state/signals', { title: 'handlers, masks, and pending signals with their values' }],
  ['state/alternate-stack', { title: 'alternate signal stacks, also one in use' }],
  ['state/trap-handler', { title: 'a handler of SIGTRAP' }],
  ['state/interval-timers', { title: 'interval timers with what remained' }],
  ['state/posix-timers', { title: 'timers of timer_create with their ids' }],
  ['state/break', { title: 'the break, from which the heap grows', args: ['strict'] }],
  ['state/clocks', { title: 'clocks by the vdso of the kernel' }],
  ['state/clocks', { title: 'clocks by a vdso of system calls', options: { at: 'stop', avoid: ['vdso'] } }],
  ['state/process', { title: 'directory, umask, name, limits and attributes' }],
  ['state/memory', { title: 'guards, protections, sparse memory and a growing stack' }],
  ['state/sleeps', { title: 'threads that wait, each in another call', options: { at: 'request' } }],
  ['state/vectors', { title: 'vector registers and control words', options: { at: 'request' } }],
  ['state/vectors-sve', { title: 'SVE registers', options: { at: 'symbol:landmark' } }],
  ['files/pipes', { title: 'pipes with what is in them' }],
  ['files/socketpairs', { title: 'socket pairs with what is in them' }],
  ['files/epoll', { title: 'epoll instances' }],
  ['files/eventfd', { title: 'eventfds' }],
  ['files/timerfd', { title: 'timerfds' }],
  ['files/memfd', { title: 'memfds with their seals' }],
  ['files/deleted', { title: 'deleted files' }],
  ['files/directory', { title: 'open directories and devices' }],
  ['files/pty', { title: 'terminals of its own' }],
  ['files/shared-memory', { title: 'shared memory' }],
  [
    'state/plain',
    {
      title: 'return addresses that would be signed',
      flags: ['-mbranch-protection=standard'],
    },
  ],
];

const jobs: FreezeJob[] = [
  ...WANTED.map(([name, wanted]) => fixture(name, wanted)),
  {
    name: 'a process that waits in every way, and goes on',
    program: compileForArm('attach/waits.c'),
    args: ['6'],
    ownDirectory: false,
    options: {},
    attachedAfter: 'ready',
  },
  asking('perl', '/usr/bin/perl', ['-e', PERL]),
  asking('python', '/usr/bin/python3.11', ['-I', '-S', '-c', PYTHON]),
];

/** The machine's CPU has keys, and this process has used them when it is found. */
const SIGNED: FreezeJob = {
  name: 'a running process that signs return addresses',
  program: compileForArm('attach/waits.c', ['-mbranch-protection=standard']),
  args: ['6'],
  ownDirectory: false,
  options: {},
  attachedAfter: 'ready',
};

let done: Promise<{ outcomes: readonly JobOutcome[]; directory: string }> | undefined;
const doneOnce = () => (done ??= onArm([...jobs, SIGNED]));

for (const [i, { name }] of jobs.entries()) {
  test.serial(`aarch64: resume gives back ${name}`, async t => {
    t.timeout(620_000);
    const outcome = (await doneOnce()).outcomes[i];
    if (outcome === undefined) return t.fail('the job was not done');
    const { whole, first, written, second, error } = outcome;
    t.is(error, undefined);
    t.deepEqual(
      { said: written + second?.stdout + second?.stderr, status: second?.status, signal: second?.signal },
      { said: whole.stdout + whole.stderr, status: whole.status, signal: whole.signal },
    );
    if (first !== undefined) t.deepEqual(first, whole, 'the first life goes on as if nothing had been');
    t.true(whole.status !== null && whole.stdout !== '', 'the program itself must work there');
  });
}

test.serial('aarch64: a running process that signs return addresses is refused by name', async t => {
  t.timeout(620_000);
  const { outcomes } = await doneOnce();
  const { error = '' } = outcomes[jobs.length] ?? {};
  t.regex(
    error,
    /^CANNOT_BE_KEPT .*for 1 reason\n {2}POINTER_AUTHENTICATION the process signs return addresses/,
  );
});
