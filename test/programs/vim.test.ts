import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { sandbox } from '../support/sandbox.ts';
import { freezeOnTerminal, onTerminal, type TerminalStep } from '../support/terminal.ts';

const directory = sandbox('vim');
const ENV = ['TERM=xterm', 'HOME=/nonexistent'];
const LINES = Array.from({ length: 200 }, (_, i) => `line ${i + 1}\n`).join('');

/**
 * It has its window's size and has drawn. Keys that vim has read when it is told of a size stay in its buffer until the
 * next key, in any of its lives.
 */
const drawn = (line: string): TerminalStep[] => [
  ['pause', 0.3],
  ['send', '\x0c'],
  ['expect', line],
  ['pause', 0.2],
];

let count = 0;

/** A vim that has a file open, with changes that are not written yet; it waits for a key. */
async function frozenVim(args: readonly string[] = []) {
  const place = join(directory, `${count++}`);
  mkdirSync(place);
  const file = join(place, 'text.txt');
  writeFileSync(file, LINES);
  const path = join(directory, `vim-${count}`);
  const first = await freezeOnTerminal('/usr/bin/vim', path, {
    args: ['-u', 'NONE', '-i', 'NONE', '-N', ...args, '+normal 3GddGoadded', file],
    env: ENV,
  });
  return { place, file, path, first };
}

test.serial('vim is frozen with a file that it has changed, and writes it in its second life', async t => {
  const { place, file, path, first } = await frozenVim();
  t.is(first.problem, null, first.seen);
  t.true(first.seen.endsWith('[frozen]\r\n[modes kept, group kept]\r\n'), first.seen);
  t.is(readFileSync(file, 'utf8'), LINES, 'not written in the first life');

  const second = await onTerminal(
    [path],
    [
      ['modes', null],
      ...drawn('added'),
      ['send', 'o'],
      ['expect', 'INSERT'],
      ['pause', 0.3],
      ['send', 'typed later'],
      ['expect', 'typed later'],
      ['send', '\x1b'],
      ['pause', 0.2], // an escape that is followed by a key at once could be that key with Alt
      ['send', ':3s/line/LINE/\r'],
      ['send', 'u'],
      ['send', '1Gyyp'],
      ['resize', [30, 100]],
      ...drawn('line 25'),
      ['send', ':echo &lines &columns\r'],
      ['expect', '30 100'],
      ['send', ':wq\r'],
    ],
  );
  t.is(second.problem, null, second.seen);
  t.is(second.status, 0, second.seen);
  const wanted = `line 1\n${LINES.replace('line 3\n', '')}added\ntyped later\n`;
  t.is(readFileSync(file, 'utf8'), wanted);
  t.deepEqual(second.after, second.before, 'the modes of the terminal are as they were');
  t.deepEqual(readdirSync(place), ['text.txt'], 'its swap file is gone');
});

test.serial(
  'a vim without a swap file is resumed as often as one likes, each with a screen of its own',
  async t => {
    const { file, path } = await frozenVim(['-n']);
    for (const word of ['first', 'second', 'third']) {
      const life = await onTerminal(
        [path],
        [
          ...drawn('added'),
          ['send', `o${word} life\x1b`],
          ['expect', `${word} life`],
          ['send', `:w! ${file}.${word}\r`],
          ['expect', 'written'],
          ['send', ':q!\r'],
        ],
      );
      t.is(life.problem, null, life.seen);
      t.is(life.status, 0);
      t.is(readFileSync(`${file}.${word}`, 'utf8'), `${LINES.replace('line 3\n', '')}added\n${word} life\n`);
    }
  },
);

test.serial('vim runs a command, its own script and python in its second life', async t => {
  const { file, path } = await frozenVim(['-n']);
  const life = await onTerminal(
    [path],
    [
      ...drawn('added'),
      ['send', ":call setline(1, system('echo a child')[:-2])\r"],
      ['send', ":py3 import vim; vim.current.buffer[1] = 'python ' + str(6 * 7)\r"],
      ['send', `:w! ${file}.out\r`],
      ['expect', 'written'],
      ['send', ':cq\r'],
    ],
  );
  t.is(life.problem, null, life.seen);
  t.is(life.status, 1);
  t.deepEqual(readFileSync(`${file}.out`, 'utf8').split('\n').slice(0, 2), ['a child', 'python 42']);
});
