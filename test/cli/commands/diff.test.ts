import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseDiff } from '../../../cli/commands/diff.ts';
import { UsageError } from '../../../cli/errors.ts';
import { unexec } from '../../support/command.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('diff-command');
const one = join(directory, `one-${'long-name-'.repeat(12)}`);
const other = join(directory, 'other');

test.before(async () => {
  const program = compileFixture('diff/changes.c');
  await freezeProgram(program, one, { args: ['1'], at: 'stop' });
  await freezeProgram(program, other, { args: ['2', 'filled'], at: 'stop' });
});

test('parseDiff() takes two files or processes', t => {
  t.like(parseDiff(['a', 'b', '--json']), { a: 'a', b: 'b' });
  t.like(parseDiff(['12', './34']), { a: { pid: 12 }, b: './34' });
  for (const words of [[], ['a'], ['a', 'b', 'c'], ['a', 'b', '--nonsense']]) {
    t.throws(() => parseDiff(words), { instanceOf: UsageError }, words.join(' '));
  }
});

test('unexec diff tells what differs within 100 columns, and exits with 9', async t => {
  for (const words of [[], ['--verbose']]) {
    const { status, stdout, stderr } = await unexec(['diff', one, other, ...words]);
    t.deepEqual([status, stderr], [9, ''], words.join(' '));
    for (const title of ['pages', 'words on changed pages', 'differences by symbol', 'said of itself']) {
      t.true(stdout.includes(`\n\n${title}\n`), title);
    }
    t.regex(stdout, /^ +- +- +64\.0 KiB +- {2}filled +\S+ bss$/m);
    t.regex(stdout, /^ {2}argv\[1\] +"1" +"2"$/m);
    t.is(/^ {2}and \d+ more \(--verbose\)$/m.test(stdout), words.length === 0);
    const long = stdout.split('\n').filter(line => [...line].length > 100);
    t.deepEqual(long, []);
  }
});

test('unexec diff of equal files says so and exits with 0, and says nothing with --quiet', async t => {
  const same = await unexec(['diff', one, one]);
  t.is(same.status, 0);
  t.regex(same.stdout, /\n\nno difference\n$/);
  t.like(await unexec(['diff', '-q', one, one]), { status: 0, stdout: '', stderr: '' });
  t.like(await unexec(['diff', '-q', one, other]), { status: 9, stdout: '', stderr: '' });
});

test('unexec diff --json tells the report in one object', async t => {
  const { status, stdout } = await unexec(['diff', '--json', one, other]);
  const report = JSON.parse(stdout);
  t.is(status, 9);
  t.like(report, { ok: false, exitCode: 9, version: 1, same: false, b: { path: other, kind: 'image' } });
  t.is(report.symbols[0].name, 'filled');
});

test('unexec diff refuses what it cannot read, and says which of the two it is', async t => {
  const text = join(directory, 'text');
  writeFileSync(text, 'neither format\n');
  for (const words of [
    [text, one],
    [one, text],
  ]) {
    const { status, stderr } = await unexec(['diff', ...words]);
    t.is(status, 1);
    t.regex(stderr, /^unexec: .*text: the file begins with 6e 65 69 74, expected the magic/);
    t.notRegex(stderr, /fault of unexec/);
  }
});
