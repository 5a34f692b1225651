/**
 * The build step of samples/restart, by its Makefile and its CMakeLists.txt, as a user runs them.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { COMMAND } from '../support/command.ts';
import { run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const SAMPLES = join(ROOT, 'samples/restart');
const directory = sandbox('samples-restart');
const PROGRAMS = readdirSync(SAMPLES).filter(file => file.endsWith('.c'));

/** What world.c says in its round, after the line that says how this life began. */
async function rounds(program: string, count: number): Promise<string[]> {
  const { stdout } = await run(program, { args: [String(count)] });
  return stdout.trimEnd().split('\n').slice(1);
}

test('the programs of samples/restart have at most 60 lines', t => {
  t.deepEqual(PROGRAMS, ['constructors.c', 'tables.c', 'world.c']);
  for (const file of PROGRAMS) {
    t.true(readFileSync(join(SAMPLES, file), 'utf8').trimEnd().split('\n').length <= 60, file);
  }
});

test('make builds, freezes and runs world on Linux', async t => {
  const out = join(directory, 'make');
  const variables = [`OUT=${out}`, `UNEXEC=${process.execPath} ${COMMAND}`];
  const said = execFileSync('make', ['-s', '-C', SAMPLES, 'check', ...variables], { encoding: 'utf8' });
  const [, ...one] = await rounds(join(out, 'world'), 2);
  t.true(said.includes(one.slice(1).join('\n')), said);
  const { stdout } = await run(join(out, 'world.frozen'));
  t.deepEqual(stdout.trimEnd().split('\n'), one.slice(1));
});

test('CMake builds and freezes the programs on Linux', async t => {
  const out = join(directory, 'cmake');
  const options = ['-S', SAMPLES, '-B', out, `-DUNEXEC=${process.execPath};${COMMAND}`];
  execFileSync('cmake', options, { encoding: 'utf8' });
  execFileSync('cmake', ['--build', out], { encoding: 'utf8' });
  const expected = await rounds(join(out, 'world'), 2);
  t.deepEqual((await run(join(out, 'world.frozen'))).stdout.trimEnd().split('\n'), expected.slice(2));
  t.is((await run(join(out, 'tables.frozen'))).status, 0);
  t.is((await run(join(out, 'constructors.frozen'))).status, 0);
});
