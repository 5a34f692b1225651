/**
 * `--at main` makes any dynamic program one file, which starts with all its libraries loaded and relocated: with the
 * arguments, environment and input of each start it does what the program does.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { freeze } from '../../unexec/freeze.ts';
import { type Outcome, PATH, run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';
import { DIFFERENT, PROGRAMS, STDIN } from './usr-bin.ts';

const directory = sandbox('at-main');

/** Nothing of it is there when the programs are frozen: what reads its environment before main is found out. */
const ENVIRONMENT = { PATH, HOME: '/', LC_ALL: 'C.UTF-8', TZ: 'Asia/Tokyo', COLUMNS: '70', TERM: 'vt100' };

test('98 of 100 programs of /usr/bin, frozen at main, do what they do otherwise', async t => {
  t.timeout(180_000);
  t.true(new Set(PROGRAMS.map(([name]) => name)).size >= 100);
  const nothing = openSync('/dev/null', 'r+');
  const different: string[] = [];
  for (const [name, ...args] of PROGRAMS) {
    const program = `/usr/bin/${name}`;
    const image = join(directory, name);
    await freeze(program, image, { at: 'main', stdio: [nothing, nothing, nothing] });
    const [once, again] = await Promise.all([start(program, program, args), start(image, program, args)]);
    if (!same(once, again)) different.push(name);
    if (same(once, again) || DIFFERENT.has(name)) continue;
    t.log(name, once, again);
  }
  closeSync(nothing);
  t.deepEqual(different, [...DIFFERENT.keys()]);
  t.true(DIFFERENT.size <= 2);
});

/** From the root directory, where no image was made. `argv0` is what usage messages name. */
const start = (path: string, argv0: string, args: readonly string[]): Promise<Outcome> =>
  run(path, { argv0, args, stdin: STDIN, env: ENVIRONMENT, cwd: '/' });

const same = (a: Outcome, b: Outcome): boolean =>
  a.stdout === b.stdout && a.stderr === b.stderr && a.status === b.status && a.signal === b.signal;

test('a script is refused at main, with what to do', async t => {
  const script = join(directory, 'script');
  writeFileSync(script, '#!/bin/sh\necho "$1"\n', { mode: 0o755 });
  const error = await t.throwsAsync(freeze(script, join(directory, 'none'), { at: 'main' }));
  t.like(error, { code: 'SCRIPT_AT_MAIN' });
  t.regex(error?.message ?? '', /interpreter \(#!\/bin\/sh\)/);
});
