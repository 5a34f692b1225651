import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { FreezeOptions } from '../../unexec/freeze.ts';
import { compileFixture } from '../support/fixtures.ts';
import { type Frozen, freezeProgram } from '../support/freeze-program.ts';
import { run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('train');
const trainee = compileFixture('image/trainee.c');

const freezeTrained = (name: string, train?: FreezeOptions['train']): Promise<Frozen> =>
  freezeProgram(trainee, join(directory, name), { at: 'request', ...(train === undefined ? {} : { train }) });

/** Minor page faults of a run, less those of starting one at all. */
const minorFaults = (path: string): number => countFaults(path) - countFaults('/bin/true');

/** As the kernel counts them for getrusage(2). */
function countFaults(path: string): number {
  const script =
    'import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);' +
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt)';
  return Number(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' }));
}

/** Processes that run a file below our directory. */
function running(): string[] {
  return readdirSync('/proc').filter(name => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').startsWith(directory);
    } catch {
      return false;
    }
  });
}

test.serial('a trained image gives the same result with far fewer page faults', async t => {
  const plain = await freezeTrained('plain');
  const trained = await freezeTrained('trained', { args: ['work'] });
  const expected = await run(plain.path);
  t.regex(expected.stdout, /^worked, \d+\n$/);
  t.deepEqual(await run(trained.path), expected);
  const [before, after] = [minorFaults(plain.path), minorFaults(trained.path)];
  t.log(`${before} page faults, after training ${after}`);
  t.true(before > 4000, `${before}`); // 4096 pages are written
  t.true(after < before / 5, `${after} of ${before}`);
});

test.serial('training with other work than that of the start gives the same result', async t => {
  const plain = await run((await freezeTrained('other-plain')).path);
  const trained = await freezeTrained('other', { args: ['fork'] });
  t.deepEqual(await run(trained.path), plain);
});

for (const how of ['fork', 'fork-exec']) {
  test.serial(`a program that does ${how} while it is trained is trained all the same`, async t => {
    const { path } = await freezeTrained(how, { args: [how] });
    const { stdout, status } = await run(path, { args: [how] });
    t.regex(stdout, /^child 5\nworked, \d+\n$/);
    t.is(status, 0);
    t.deepEqual(running(), []);
  });
}

test.serial('a program that does not end is looked at when its time is over, and ended', async t => {
  const start = performance.now();
  const { path } = await freezeTrained('forever', { args: ['forever'], milliseconds: 400 });
  t.true(performance.now() - start < 8000);
  t.deepEqual(running(), []);
  t.is((await run(path)).status, 0);
});

const failures: readonly [how: string, message: RegExp][] = [
  ['exec', /started another program/],
  ['crash', /ended by signal 6/],
];

for (const [how, message] of failures) {
  test.serial(`a training run that comes to ${how} fails, and leaves neither file nor process`, async t => {
    await t.throwsAsync(freezeTrained(`fails-${how}`, { args: [how] }), { code: 'TRAINING_FAILED', message });
    t.false(existsSync(join(directory, `fails-${how}`)));
    t.deepEqual(
      readdirSync(directory).filter(name => name.includes(`fails-${how}`) && !name.endsWith('.written')),
      [],
    );
    t.deepEqual(running(), []);
  });
}

test.serial('an abort while training ends it', async t => {
  const controller = new AbortController();
  const path = join(directory, 'aborted');
  const freezing = freezeProgram(trainee, path, {
    at: 'request',
    train: { args: ['forever'], milliseconds: 60_000 },
    signal: controller.signal,
    onPhase: phase => {
      if (phase === 'training') setTimeout(() => controller.abort(new Error('enough')), 300);
    },
  });
  await t.throwsAsync(freezing, { message: 'enough' });
  t.false(existsSync(path));
  t.deepEqual(running(), []);
});
