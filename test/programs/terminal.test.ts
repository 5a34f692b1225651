import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sandbox } from '../support/sandbox.ts';
import { freezeOnTerminal, onTerminal, type TerminalStep } from '../support/terminal.ts';

const directory = sandbox('terminal');
const UP = '\x1b[A';
const LEFT = '\x1b[D';
const ENV = ['TERM=xterm', 'HOME=/nonexistent'];

interface Repl {
  readonly program: string;
  readonly args: readonly string[];
  /** What it says when it waits for input. */
  readonly prompt: string;
  /** In the resumed one. */
  readonly steps: readonly TerminalStep[];
  /** It edits the line itself: the terminal is in raw mode while it waits. */
  readonly edits: boolean;
}

const REPLS: Readonly<Record<string, Repl>> = {
  'python3 with readline': {
    program: '/usr/bin/python3',
    args: ['-i', '-q', '-c', 'import readline; word = "kept"; print("loaded")'],
    prompt: '>>> ',
    steps: [
      ['send', 'print(word * 2)\r'],
      ['expect', 'keptkept'],
      // The line before it comes back, and is changed: readline has the new terminal in raw mode.
      ['send', `${UP}${LEFT}3\r`],
      ['expect', 'kept'.repeat(23)],
      ['send', 'import os; tuple(os.get_terminal_size())\r'],
      ['expect', '(80, 24)'],
      ['resize', [30, 100]],
      ['send', 'tuple(os.get_terminal_size())\r'],
      ['expect', '(100, 30)'],
      ['send', 'exit(3)\r'],
    ],
    edits: true,
  },
  'the guile REPL': {
    program: '/usr/bin/guile',
    args: ['--no-auto-compile', '-q'],
    prompt: 'guile-user)> ',
    steps: [
      ['send', '(string-append "to" "gether")\r'],
      ['expect', '"together"'],
      ['send', '(exit 3)\r'],
    ],
    edits: false,
  },
  // Job control goes by process groups, whose numbers bash keeps: they are others in the second life, and
  // after a child it could not take the terminal back. `set +m` switches it off.
  'bash -i': {
    program: '/usr/bin/bash',
    args: ['--norc', '--noprofile', '-i'],
    prompt: '# ',
    steps: [
      ['send', 'set +m; word=kept; echo $word$word\r'],
      ['expect', 'keptkept'],
      ['send', `${UP}${LEFT}X\r`],
      ['send', 'echo out | tr a-z A-Z\r'],
      ['expect', 'OUT'],
      ['send', '/bin/echo a chi"ld"\r'],
      ['expect', 'a child'],
      ['send', 'exit 3\r'],
    ],
    edits: true,
  },
  'the node REPL': {
    program: process.execPath,
    args: ['-i'],
    prompt: '> ',
    steps: [
      ['send', '[1, 2].map(x => x * 21).join("+")\r'],
      ['expect', "'21+42'"],
      ['send', 'process.stdout.columns\r'],
      ['expect', '80'],
      ['resize', [30, 111]],
      ['pause', 0.3],
      ['send', 'process.stdout.columns\r'],
      ['expect', '111'],
      ['send', 'process.exit(3)\r'],
    ],
    edits: true,
  },
  'the perl debugger': {
    program: '/usr/bin/perl',
    args: ['-de', '0'],
    prompt: 'DB<1> ',
    steps: [
      ['send', 'print "to" . "gether"\r'],
      ['expect', 'together'],
      ['send', 'q\r'],
    ],
    edits: false,
  },
  // Its own editor of lines asks the terminal where the cursor is, and nobody answers here.
  irb: {
    program: '/usr/bin/irb',
    args: ['-f', '--nocolorize', '--nomultiline', '--noreadline', '-r', 'json'],
    prompt: 'irb(main):001:0> ',
    steps: [
      ['send', 'word = "kept"\r'],
      ['expect', '=> "kept"'],
      ['send', 'JSON.generate([word * 2])\r'],
      ['expect', 'keptkept'],
      ['send', 'exit!(3)\r'],
    ],
    edits: false,
  },
  'sqlite3 at its prompt': {
    program: '/usr/bin/sqlite3',
    args: ['-cmd', 'CREATE TABLE t AS SELECT 42 AS a'],
    prompt: 'sqlite> ',
    steps: [
      ['send', 'SELECT a + 1 FROM t;\r'],
      ['expect', '43\r\n'],
      ['send', `${UP}${LEFT}${LEFT}\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f0 FROM t;\r`],
      ['send', '.exit 3\r'],
    ],
    edits: true,
  },
  // It shares the terminal with the program that it runs by process groups, as bash does: `tty` gives that another one.
  'gdb at its prompt': {
    program: '/usr/bin/gdb',
    args: ['-nx', '-q', '/usr/bin/perl'],
    prompt: '(gdb) ',
    steps: [
      ['send', 'print 6 * 7\r'],
      ['expect', '= 42'],
      ['send', `${UP} + 1\r`],
      ['expect', '= 43'],
      ['send', 'break main\r'],
      ['expect', 'Breakpoint 1'],
      ['send', 'quit 3\r'],
    ],
    edits: true,
  },
  cat: {
    program: '/bin/cat',
    args: [],
    prompt: '',
    steps: [
      ['send', 'line\r'],
      ['expect', 'line\r\nline\r\n'],
      ['send', '\x04'],
    ],
    edits: false,
  },
};

for (const [name, repl] of Object.entries(REPLS)) {
  test.serial(`${name} waits for input on one terminal and gets it on another`, async t => {
    const path = join(directory, name.replaceAll(' ', '-'));
    const first = await freezeOnTerminal(repl.program, path, { args: repl.args, env: ENV });
    t.is(first.problem, null);
    t.true(first.seen.includes(repl.prompt), first.seen);
    t.true(first.seen.endsWith('[frozen]\r\n[modes kept, group kept]\r\n'), first.seen);

    const second = await onTerminal([path], [['modes', null], ...repl.steps]);
    t.is(second.problem, null, second.seen);
    t.is(second.status, name === 'cat' || name === 'the perl debugger' ? 0 : 3, second.seen);
    isRaw(t, second.during, repl.edits);
  });
}

/** Modes of the terminal while the program waits: local flags are the fourth of struct termios. */
function isRaw(t: ExecutionContext, modes: readonly string[] | null, raw: boolean): void {
  const [ICANON, ECHO] = [2, 8];
  const flags = Number(modes?.[3]) & (ICANON | ECHO);
  t.is(flags, raw ? 0 : ICANON | ECHO);
}

test.serial('a program that was frozen on a terminal reads from a pipe too', async t => {
  const path = join(directory, 'python-pipe');
  await freezeOnTerminal('/usr/bin/python3', path, { args: ['-c', 'print(input()[::-1])'], env: ENV });
  t.is(execFileSync(path, { input: 'unexec\n', encoding: 'utf8' }), 'cexenu\n');
});
