import test from 'ava';
import { formatBytes, formatDuration, PLAIN, printable, styleFor, table } from '../../cli/render.ts';

const sizes: readonly (readonly [number, string])[] = [
  [0, '0 bytes'],
  [1023, '1023 bytes'],
  [1024, '1.00 KiB'],
  [10 * 1024, '10.0 KiB'],
  [1023 * 1024, '1023 KiB'],
  [1024 ** 2 - 1, '1.00 MiB'],
  [1.5 * 1024 ** 3, '1.50 GiB'],
  [1024 ** 6, '1024 PiB'],
];
for (const [bytes, text] of sizes) {
  test(`formatBytes() writes ${bytes} as ${text}`, t => t.is(formatBytes(bytes), text));
}

const durations: readonly (readonly [number, string])[] = [
  [0.4211, '0.42 ms'],
  [53.04, '53.0 ms'],
  [999.4, '999 ms'],
  [999.6, '1.00 s'],
  [12_340, '12.3 s'],
  [59_960, '60.0 s'],
  [200_000, '3 min 20 s'],
];
for (const [milliseconds, text] of durations) {
  test(`formatDuration() writes ${milliseconds} ms as ${text}`, t =>
    t.is(formatDuration(milliseconds), text));
}

test('table() pads columns to their widest cell', t => {
  t.deepEqual(table([['a', '1', 'x'], ['long', '100'], []], ['left', 'right']), [
    'a       1  x',
    'long  100',
    '',
  ]);
});

test('table() does not count colours as width', t => {
  const { red } = styleFor({ isTTY: true }, {});
  t.not(red('ab'), 'ab');
  t.deepEqual(
    table([
      [red('ab'), 'x'],
      ['abcd', 'y'],
    ]),
    [`${red('ab')}    x`, 'abcd  y'],
  );
});

test('styleFor() has colours for terminals only', t => {
  t.is(styleFor({}, {}), PLAIN);
  t.is(styleFor({ isTTY: false }, {}), PLAIN);
  t.not(styleFor({ isTTY: true }, {}), PLAIN);
});

test('styleFor() has no colours with NO_COLOR or a dumb terminal', t => {
  t.is(styleFor({ isTTY: true }, { NO_COLOR: '1' }), PLAIN);
  t.is(styleFor({ isTTY: true }, { TERM: 'dumb' }), PLAIN);
  t.not(styleFor({ isTTY: true }, { NO_COLOR: '' }), PLAIN);
});

test('printable() shows control characters and keeps the rest', t => {
  t.is(printable('a\x1b[31mb\nc\x7f\x9bé'), 'a\\x1b[31mb\\x0ac\\x7f\\x9bé');
});
