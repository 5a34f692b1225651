/**
 * What every real program must stand: frozen by root and by an ordinary user, resumed by an ordinary
 * user, twice at the same time, without address randomisation, and with it many times in a row, it
 * always says what an uninterrupted run says.
 *
 * @module
 */

import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { directoryForNobody, type Frozen, freezeAsNobody, freezeProgram } from './freeze-program.ts';
import { type Outcome, PATH, type RunOptions, run } from './run.ts';
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

interface Said extends Pick<Outcome, 'status' | 'signal'> {
  readonly text: string;
}

/** Registers the tests of a program. */
export function programTests(subject: ProgramUnderTest): void {
  const { name, times } = subject;
  const directory = sandbox('program');
  const ours = once(() => freezeProgram(subject.program, join(directory, name), options(subject)));
  const nobodys = once(async () =>
    freezeAsNobody(subject.program, join(directoryForNobody(directory), name), options(subject)),
  );
  let runs = 0;
  // stdout and stderr are one file, as they were for the first life: what is said keeps its order.
  const said = async (program: string, how: RunOptions): Promise<Said> => {
    const path = join(directory, `said-${runs++}`);
    const output = openSync(path, 'w');
    try {
      const { status, signal } = await run(program, { ...how, output, timeout: 120_000 });
      return { text: readFileSync(path, 'utf8'), status, signal };
    } finally {
      closeSync(output);
    }
  };
  const whole = once(() => said(subject.program, { args: subject.args, env: environment(subject) }));
  const resume = async (t: ExecutionContext, frozen: Frozen, how: RunOptions = {}): Promise<void> => {
    const second = await said(frozen.path, { env: environment(subject), ...how });
    const { text, status } = await whole();
    t.is(second.signal, null, second.text);
    t.is(frozen.written + second.text, text);
    t.is(second.status, status);
  };

  test.serial(`${name} says the same in two lives as in one`, async t => {
    const { text, status } = await whole();
    t.is(status, 0, text);
    const frozen = await ours();
    t.true(frozen.written.length > 0, 'nothing was said in the first life');
    t.true(text.length > frozen.written.length, 'nothing is left to be said in the second life');
    await resume(t, frozen);
  });
  test.serial(`${name} frozen here is resumed by an ordinary user`, async t => {
    const frozen = await ours();
    await resume(t, frozen, { unprivileged: true, cwd: '/' });
  });
  test.serial(`${name} is frozen and resumed by an ordinary user`, async t => {
    const frozen = await nobodys();
    await resume(t, frozen, { unprivileged: true, cwd: '/' });
  });
  test.serial(`${name} is resumed twice at the same time`, async t => {
    const frozen = await ours();
    await Promise.all([resume(t, frozen), resume(t, frozen)]);
  });
  test.serial(`${name} is resumed without address randomisation`, async t => {
    const frozen = await ours();
    await resume(t, frozen, { through: ['/usr/bin/setarch', '-R'] });
  });
  test.serial(`${name} is resumed ${times} times in a row without a failure`, async t => {
    t.timeout(300_000);
    const frozen = await ours();
    for (let i = 0; i < times; i++) await resume(t, frozen);
  });
}

const options = ({ args, at = 'stop', env = [] }: ProgramUnderTest): Parameters<typeof freezeProgram>[2] => ({
  args,
  at,
  env,
});

const environment = ({ env = [] }: ProgramUnderTest): Record<string, string> => ({
  PATH,
  ...Object.fromEntries(env.map(entry => entry.split('=', 2))),
});

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
