/**
 * What every real program must stand: frozen by root and by an ordinary user, resumed by an ordinary
 * user, twice at the same time, without address randomisation, and with it many times in a row, it
 * always says what an uninterrupted run says. How much sooner it is at its end is logged.
 *
 * @module
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { directoryForNobody, type Frozen, freezeAsNobody, freezeProgram } from './freeze-program.ts';
import { logRatio } from './log-ratio.ts';
import { type Outcome, PATH, type RunOptions, run } from './run.ts';
import { sandbox } from './sandbox.ts';

export interface ProgramUnderTest {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Default: it stops itself, or waits for what is typed. */
  readonly at?: string;
  /** What it reads from its stdin, which is a pipe: all of it in the second life. */
  readonly typed?: string;
  /** `NAME=VALUE`, for both lives. */
  readonly env?: readonly string[];
  /** Its exit status; default: 0. */
  readonly status?: number;
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
  const typed = subject.typed === undefined ? {} : { stdin: subject.typed };
  const ours = once(() =>
    withInput(subject, directory, stdin =>
      freezeProgram(subject.program, join(directory, name), { ...options(subject), ...stdin }),
    ),
  );
  const nobodys = once(() =>
    withInput(subject, directory, async stdin =>
      freezeAsNobody(subject.program, join(directoryForNobody(directory), name), {
        ...options(subject),
        ...stdin,
      }),
    ),
  );
  let runs = 0;
  // stdout and stderr are one file, as they were for the first life: what is said keeps its order.
  const said = async (program: string, how: RunOptions): Promise<Said> => {
    const path = join(directory, `said-${runs++}`);
    const output = openSync(path, 'w');
    try {
      const { status, signal } = await run(program, { ...typed, ...how, output, timeout: 120_000 });
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
    t.is(status, subject.status ?? 0, text);
    const frozen = await ours();
    t.true(frozen.written.length > 0, 'nothing was said in the first life');
    t.true(text.length > frozen.written.length, 'nothing is left to be said in the second life');
    await resume(t, frozen);
  });
  test.serial(`${name} is at its end sooner when it is resumed`, async t => {
    const frozen = await ours();
    const env = environment(subject);
    await logRatio(t, 'at its end', {
      own: async () => void (await said(subject.program, { args: subject.args, env })),
      resumed: async () => void (await said(frozen.path, { env })),
    });
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

const options = ({ args, at, env = [], typed }: ProgramUnderTest) => ({
  args,
  at: at ?? (typed === undefined ? 'stop' : 'input'),
  env,
});

/** With an empty pipe as stdin that stays open, for a program that waits for what is typed. */
async function withInput(
  { typed }: ProgramUnderTest,
  directory: string,
  freeze: (options: { readonly stdin?: string }) => Promise<Frozen>,
): Promise<Frozen> {
  if (typed === undefined) return freeze({});
  const pipe = join(directory, `pipe-${pipes++}`);
  execFileSync('mkfifo', [pipe]);
  chmodSync(pipe, 0o666);
  const held = openSync(pipe, constants.O_RDWR);
  try {
    return await freeze({ stdin: pipe });
  } finally {
    closeSync(held);
  }
}

let pipes = 0;

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
