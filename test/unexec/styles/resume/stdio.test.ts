import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { freeze } from '../../../../unexec/freeze.ts';
import { compileFixture } from '../../../support/fixtures.ts';
import { openPty } from '../../../support/pty.ts';
import { run } from '../../../support/run.ts';
import { freezeFixture, freshDirectory } from '../../../support/same-result.ts';

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
  const terminal = openPty();
  const path = `${freshDirectory()}.frozen`;
  try {
    await freeze(compileFixture('files/stdio.c'), path, {
      at: 'stop',
      stdio: [terminal.slave, terminal.slave, terminal.slave],
    });
  } finally {
    terminal.close();
  }
  return path;
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise(resolve => {
    child.on('close', resolve);
  });

test('resume moves to the terminal of the second life, with the modes of the first', async t => {
  const path = await frozenOnTerminal();
  const terminal = openPty();
  const { slave } = terminal;
  // As its controlling terminal, so that /dev/tty is there too.
  const child = spawn('/usr/bin/setsid', ['--ctty', '--wait', path], { stdio: [slave, slave, slave] });
  const status = ended(child);
  writeFileSync(terminal.name, ''); // the terminal can be opened by others
  const input = openSync(`/proc/self/fd/${terminal.master}`, 'w');
  writeFileSync(input, 'keys\n');
  const text = await terminal.readUntil(said => said.includes('first free'));
  closeSync(input);
  t.is(await status, 0);
  t.regex(text, /^in: 5 'keys\r$/m);
  t.regex(text, /^echo 0\r$/m);
  t.regex(text, /^by \/dev\/tty\r$/m);
  t.regex(text, /^error\r$/m);
  terminal.close();
});

test('resume of a program of a terminal takes pipes where the second life has none', async t => {
  const path = await frozenOnTerminal();
  const { stdout, stderr, status } = await run(path, { stdin: 'typed' });
  t.is(status, 0, stderr);
  t.regex(stdout, /^in: 5 'typed'$/m);
});
