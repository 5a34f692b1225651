import { join } from 'node:path';
import test from 'ava';
import { freezeProgram } from '../support/freeze-program.ts';
import { PATH, run } from '../support/run.ts';
import { freezeFixture } from '../support/same-result.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('environment');
const SECOND = { PATH, SECOND: 'new' };

/** What getenv(3) says in the second life, and the environment was changed and left soundly. */
const lives: readonly [how: string, title: string, expected: { FIRST: string; SECOND: string; OWN: string }][] = [
  ['untouched', 'was never touched', { FIRST: '(unset)', SECOND: 'new', OWN: '(unset)' }],
  ['setenv', 'was changed with setenv', { FIRST: '(unset)', SECOND: 'new', OWN: '(unset)' }],
  ['setenv-many', 'was changed with setenv many times', { FIRST: '(unset)', SECOND: 'new', OWN: '(unset)' }],
  ['putenv', 'was changed with putenv', { FIRST: '(unset)', SECOND: 'new', OWN: '(unset)' }],
  ['unsetenv', 'was changed with unsetenv', { FIRST: '(unset)', SECOND: 'new', OWN: '(unset)' }],
  ['own', 'is a vector of its own', { FIRST: 'mine', SECOND: '(unset)', OWN: '1' }],
  ['heap', 'is a vector of its own on the heap', { FIRST: '(unset)', SECOND: '(unset)', OWN: 'heap' }],
]; // biome-ignore format: a table

for (const [how, title, expected] of lives) {
  test(`a program whose environment ${title} resumes, and exits cleanly`, async t => {
    const { frozen } = await freezeFixture('image/environment.c', { args: [how], env: ['FIRST=old'] });
    const before = { unsetenv: '(unset)', own: 'mine', heap: '(unset)' }[how] ?? 'old';
    t.is(frozen.written, `FIRST=${before}\n`);
    const { stdout, stderr, status, signal } = await run(frozen.path, { env: SECOND });
    t.is(stderr, '');
    t.deepEqual({ status, signal }, { status: 0, signal: null });
    t.is(
      stdout,
      [
        `FIRST=${expected.FIRST}`,
        `SECOND=${expected.SECOND}`,
        `OWN=${expected.OWN}`,
        'SECOND=(unset)',
        'sound',
        'LATE=still works',
        '',
      ].join('\n'),
    );
  });
}

test('a program that has cleared its environment resumes, and exits cleanly', async t => {
  const { frozen } = await freezeFixture('image/environment.c', { args: ['clearenv'], env: ['FIRST=old'] });
  const { stdout, status, stderr } = await run(frozen.path, { env: SECOND });
  t.is(stderr, '');
  t.is(status, 0);
  t.regex(stdout, /^FIRST=\(unset\)$/m);
  t.regex(stdout, /^LATE=still works$/m);
});

test('perl that has changed %ENV before the freeze exits cleanly', async t => {
  const script = [
    '$ENV{OWN} = "perl"; delete $ENV{FIRST}; $ENV{"N$_"} = $_ for 1..50;',
    'kill STOP => $$;',
    '$ENV{LATE} = "late"; print `echo \\$OWN \\$LATE`; delete $ENV{$_} for keys %ENV; print "end\\n";',
  ].join('\n');
  const frozen = await freezeProgram('/usr/bin/perl', join(directory, 'perl'), {
    at: 'stop',
    args: ['-e', script],
    env: ['FIRST=old'],
  });
  const { stdout, stderr, status, signal } = await run(frozen.path, { env: SECOND });
  t.is(stderr, '');
  t.deepEqual({ status, signal }, { status: 0, signal: null });
  t.is(stdout, 'perl late\nend\n');
});

test('perl, which copies its environment at its start, goes on with its copy', async t => {
  const frozen = await freezeProgram('/usr/bin/perl', join(directory, 'perl-untouched'), {
    at: 'stop',
    args: ['-e', 'kill STOP => $$; print `echo \\$FIRST \\$SECOND`; print "end\\n"'],
    env: ['FIRST=old'],
  });
  const { stdout, stderr, status } = await run(frozen.path, { env: SECOND });
  t.is(stderr, '');
  t.is(status, 0);
  t.is(stdout, 'old\nend\n');
});
