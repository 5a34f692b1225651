/** @module */
import test from 'ava';
import { formatMib, formatMilliseconds, formatNumber, formatRatio, formatTable } from './table.ts';

test('a table is as wide as its widest cells, text to the left and numbers to the right', t => {
  const table = formatTable(
    ['', 'ms', 'faults'],
    [
      ['perl', '1.50', '7'],
      ['typescript', '123', '12345678'],
    ],
  );
  t.is(
    table,
    [
      '              ms    faults',
      '----------  ----  --------',
      'perl        1.50         7',
      'typescript   123  12345678',
    ].join('\n'),
  );
});

test('a table has no blanks at the ends of its lines, also where cells are missing', t => {
  const lines = formatTable(['name', 'x', 'y'], [['one'], ['two', '2', '']]).split('\n');
  t.deepEqual(lines, ['name  x  y', '----  -  -', 'one', 'two   2']);
});

test('a table without rows is its header', t => {
  t.is(formatTable(['a', 'b'], []), 'a  b\n-  -');
});

const NUMBERS: [value: number, text: string][] = [
  [0, '0.00'],
  [0.794, '0.79'],
  [9.5, '9.50'],
  [22.14, '22.1'],
  [100, '100'],
  [1234.4, '1234'],
];

for (const [value, text] of NUMBERS) {
  test(`${value} is written ${text}`, t => {
    t.is(formatNumber(value), text);
    t.is(formatRatio(value), `${text}x`);
    t.is(formatMib(value * 2 ** 20), text);
  });
}

test('microseconds are written as milliseconds, short ones to the microsecond', t => {
  t.is(formatMilliseconds(93.6), '0.094');
  t.is(formatMilliseconds(1520), '1.52');
  t.is(formatMilliseconds(229_412), '229');
});
