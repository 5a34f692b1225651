import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { compileFixture } from '../../../support/fixtures.ts';
import { run } from '../../../support/run.ts';
import { freezeFixture, freshDirectory } from '../../../support/same-result.ts';
import { freezeOnTerminal, onTerminal } from '../../../support/terminal.ts';

const OUTPUT = ['out', 'out again', 'null: 0', 'number of /dev/null: 7'];

test('resume gives the standard streams of the second life: pipes', async t => {
  const { frozen } = await freezeFixture('files/stdio.c');
  const { stdout, stderr, status } = await run(frozen.path, { stdin: 'typed' });
  t.is(status, 0, stderr);
  // The first life had stdout and stderr in one file: what stood for both goes to stdout.
  const lines = stdout.split('\n');
  t.deepEqual(
    [...OUTPUT, "in: 5 'typed'"].filter(line => !lines.includes(line)),
    [],
  );
  t.regex(stdout, /^first free: 8$/m);
});

test('resume gives the standard streams of the second life: files', async t => {
  const { frozen } = await freezeFixture('files/stdio.c');
  const directory = freshDirectory();
  const [input, output, error] = ['input', 'output', 'error'].map(name => join(directory, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(input, 'from a file');
  const shell = `exec ${frozen.path} <${input} >${output} 2>${error}`;
  const { status } = await run('/bin/sh', { args: ['-c', shell] });
  t.is(status, 0);
  t.regex(readFileSync(output, 'utf8'), /^in: 10 'from a fil'$/m);
  t.regex(readFileSync(output, 'utf8'), /^out$/m);
});

test('resume does without a standard stream that the second life lacks', async t => {
  const { frozen } = await freezeFixture('files/stdio.c');
  const { stdout, stderr, status } = await run('/bin/sh', { args: ['-c', `exec ${frozen.path} <&-`] });
  t.is(status, 0, stderr);
  t.regex(stdout, /^in: EBADF$/m);
  t.regex(stdout, /^first free: 0$/m);
});

test('resume keeps a standard stream closed that the program has closed', async t => {
  const { frozen } = await freezeFixture('files/stdio.c', { args: ['closed'] });
  const { stdout, stderr, status } = await run(frozen.path, { stdin: 'typed' });
  t.is(status, 0, stderr);
  t.regex(stdout, /^first free: 0$/m);
});

/** A fixture that was frozen on a terminal, with echo switched off. */
async function frozenOnTerminal(): Promise<string> {
  const path = `${freshDirectory()}.frozen`;
  const freezing = await freezeOnTerminal(compileFixture('files/stdio.c'), path, { args: [], at: 'stop' });
  if (!freezing.seen.includes('[frozen]')) throw new Error(freezing.seen);
  return path;
}

test('resume moves to the terminal of the second life, with the modes of the first', async t => {
  const { seen, status } = await onTerminal(
    [await frozenOnTerminal()],
    [
      ['pause', 0.1],
      ['send', 'keys\r'],
      ['expect', 'first free'],
    ],
  );
  t.is(status, 0, seen);
  t.regex(seen, /^in: 5 'keys\r$/m);
  t.regex(seen, /^echo 0\r$/m);
  t.regex(seen, /^by \/dev\/tty\r$/m);
  t.regex(seen, /^error\r$/m);
});

test('resume of a program of a terminal takes pipes where the second life has none', async t => {
  const path = await frozenOnTerminal();
  const { stdout, stderr, status } = await run(path, { stdin: 'typed' });
  t.is(status, 0, stderr);
  t.regex(stdout, /^in: 5 'typed'$/m);
  // 0, 1 and 2 were one description; its copies write to the new stdout.
  t.regex(stdout, /^out$/m);
  t.regex(stdout, /^error$/m);
});
