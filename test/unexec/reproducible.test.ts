/** `--reproducible`: the same program gives the same bytes; what differs otherwise is the program's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { diff } from '../../unexec/diff.ts';
import type { FreezeOptions } from '../../unexec/freeze.ts';
import { readManifest } from '../../unexec/read-manifest.ts';
import { freezeTime } from '../../unexec/reproducible.ts';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { run } from '../support/run.ts';
import { freshDirectory } from '../support/same-result.ts';

/** Freezes twice; the directory is the program's argument each time, or none is. */
async function twice(program: string, args: readonly string[], options: FreezeOptions = {}) {
  const directory = freshDirectory();
  const paths = [join(directory, 'first'), join(directory, 'second')] as const;
  for (const path of paths) {
    await freezeProgram(program, path, { at: 'stop', reproducible: true, ...options, args });
  }
  return paths;
}

const fixture = (what: string, flags: readonly string[] = []) =>
  twice(compileFixture('state/deterministic.c', flags), ['/', what]);

const isSame = ([first, second]: readonly [string, string]): boolean =>
  readFileSync(first).equals(readFileSync(second));

async function resumes(t: ExecutionContext, path: string, said: string): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const { stdout, stderr, status } = await run(path);
    t.deepEqual([stdout, stderr, status], [said, '', 0]);
  }
}

const identical = test.macro({
  exec: async (t, what: string, flags: readonly string[], said: string) => {
    const paths = await fixture(what, flags);
    t.true(isSame(paths), JSON.stringify((await diff(...paths)).unexplained));
    await resumes(t, paths[0], said);
  },
  title: what => `${what} gives the same bytes when it is frozen again, and goes on with its own personality`,
});

const LAST = 'personality 0, block 1\n';
test.serial('a dynamic program', identical, '', [], LAST);
test.serial('a static program', identical, '', ['-static'], LAST);
test.serial('a program at a fixed address', identical, '', ['-no-pie'], LAST);
test.serial('a program with threads', identical, 'threads', [], `thread 0\nthread 1\nthread 2\n${LAST}`);

const differsIn = test.macro({
  exec: async (t, what: string, symbol: string) => {
    const paths = await fixture(what);
    // Of a time the lower half differs once a second at the most.
    const { unexplained, words, parts } = await diff(...paths);
    // Within a second the time is the same.
    t.true(words.unexplained > 0 || (what === 'time' && isSame(paths)));
    for (const word of unexplained) t.is(word.symbol?.name, symbol);
    t.deepEqual(parts, []);
  },
  title: what => `a program that ${what} differs there only, by the name of the variable`,
});

test.serial('asks for the time', differsIn, 'time', 'now_is_here');
test.serial('asks for random bytes, which are none of ours', differsIn, 'random', 'random_is_here');

test.serial('perl differs in its process id, the seed of rand and the time of its start only', async t => {
  const script =
    'use POSIX; our %h = map { $_ => 1 } 1 .. 100; kill STOP => $$; print join(",", keys %h), "\\n"';
  const paths = await twice('/usr/bin/perl', ['-e', script], { env: ['PERL_HASH_SEED=0'] });
  const { unexplained, words, parts } = await diff(...paths);
  t.deepEqual([words.moved, parts], [0, []]);
  t.true(unexplained.length <= 3, JSON.stringify(unexplained));
  for (const { valueA, valueB } of unexplained) {
    const [a, b] = [BigInt(valueA), BigInt(valueB)];
    const isSeed = (a & 0xffffn) === 0x330en && (b & 0xffffn) === 0x330en; // srand48(3)
    const distance = a > b ? a - b : b - a;
    t.true(isSeed || distance < 5000n, `${valueA} ${valueB}`);
  }
  const [first, second] = [await run(paths[0]), await run(paths[1])];
  t.is(first.stdout, second.stdout);
  t.is(first.stdout.split(',').length, 100);
});

test.serial('python differs in a few words of its own', async t => {
  const script = 'import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nprint(list({"a", "b", "c"}))';
  const paths = await twice('/usr/bin/python3', ['-S', '-c', script], { env: ['PYTHONHASHSEED=0'] });
  const { pages, parts } = await diff(...paths);
  t.deepEqual([pages.onlyA, pages.onlyB, parts], [0, 0, []]);
  t.true(pages.changed <= 12 && pages.same > 2000, JSON.stringify(pages));
  const [first, second] = [await run(paths[0]), await run(paths[1])];
  t.is(first.stdout, second.stdout);
});

test('the time of the freeze is that of SOURCE_DATE_EPOCH, or 1970', async t => {
  t.is(freezeTime({ SOURCE_DATE_EPOCH: '1700000000' }), 1_700_000_000);
  for (const text of ['', 'soon', '-1', '1e9']) t.is(freezeTime({ SOURCE_DATE_EPOCH: text }), 0);
  t.is(freezeTime({}), 0);
  const [path] = await fixture('');
  const expected = new Date(freezeTime(process.env) * 1000).toISOString();
  t.is(readManifest(path).frozenAt, expected);
  t.deepEqual(
    readManifest(path).threads.map(({ tid }) => tid),
    [1],
  );
});
