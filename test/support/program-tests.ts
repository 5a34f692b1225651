/**
 * What every real program must stand: frozen by root and by an ordinary user, resumed by an ordinary
 * user, twice at the same time, without address randomisation, and with it many times in a row, it
 * always says what an uninterrupted run says.
 *
 * @module
 */

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { directoryForNobody, type Frozen, freezeAsNobody, freezeProgram } from './freeze-program.ts';
import { type Outcome, run } from './run.ts';
import { sandbox } from './sandbox.ts';

export interface ProgramUnderTest {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Default: it stops itself. */
  readonly at?: string;
  /** `NAME=VALUE`, for both lives. */
  readonly env?: readonly string[];
  /** How often it is resumed in a row, with addresses at random. */
  readonly times: number;
}

/** Registers the tests of a program. */
export function programTests(subject: ProgramUnderTest): void {
  const { name, times } = subject;
  const directory = sandbox('program');
  const ours = once(() => freezeProgram(subject.program, join(directory, name), options(subject)));
  const nobodys = once(async () =>
    freezeAsNobody(subject.program, join(directoryForNobody(directory), name), options(subject)),
  );
  const whole = once(() =>
    run(subject.program, { args: subject.args, env: environment(subject), timeout: 120_000 }),
  );
  const same = async (t: ExecutionContext, frozen: Frozen, second: Outcome): Promise<void> => {
    const { stdout, stderr, status } = await whole();
    t.is(second.signal, null, second.stderr);
    t.is(frozen.written + second.stdout + second.stderr, stdout + stderr);
    t.is(second.status, status);
  };

  test.serial(`${name} says the same in two lives as in one`, async t => {
    const { stdout, status, stderr } = await whole();
    t.is(status, 0, stderr);
    t.true(stdout.length > 0);
    const frozen = await ours();
    t.true(frozen.written.length > 0, 'nothing was said in the first life');
    t.true(stdout.length > frozen.written.length, 'nothing is left to be said in the second life');
    await same(t, frozen, await run(frozen.path));
  });
  test.serial(`${name} frozen here is resumed by an ordinary user`, async t => {
    const frozen = await ours();
    await same(t, frozen, await run(frozen.path, { unprivileged: true, cwd: '/' }));
  });
  test.serial(`${name} is frozen and resumed by an ordinary user`, async t => {
    const frozen = await nobodys();
    await same(t, frozen, await run(frozen.path, { unprivileged: true, cwd: '/' }));
  });
  test.serial(`${name} is resumed twice at the same time`, async t => {
    const frozen = await ours();
    const both = await Promise.all([run(frozen.path), run(frozen.path)]);
    for (const second of both) await same(t, frozen, second);
  });
  test.serial(`${name} is resumed without address randomisation`, async t => {
    const frozen = await ours();
    await same(t, frozen, await run(frozen.path, { through: ['/usr/bin/setarch', '-R'] }));
  });
  test.serial(`${name} is resumed ${times} times in a row without a failure`, async t => {
    t.timeout(300_000);
    const frozen = await ours();
    for (let i = 0; i < times; i++) await same(t, frozen, await run(frozen.path));
  });
}

const options = ({ args, at = 'stop', env = [] }: ProgramUnderTest): Parameters<typeof freezeProgram>[2] => ({
  args,
  at,
  env,
});

const environment = ({ env = [] }: ProgramUnderTest): Record<string, string> => ({
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ...Object.fromEntries(env.map(entry => entry.split('=', 2))),
});

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
