import test from 'ava';
import { parseSize } from '../../cli/sizes.ts';

const accepted: readonly (readonly [text: string, bytes: number])[] = [
  ['1', 1],
  ['65536', 65536],
  ['0x10000', 65536],
  ['0XFF', 255],
  ['4K', 4096],
  ['256M', 268435456],
  ['256MiB', 268435456],
  ['1g', 1073741824],
  ['2T', 2199023255552],
];
for (const [text, bytes] of accepted) {
  test(`parseSize() takes ${text}`, t => {
    t.is(parseSize(text), bytes);
  });
}

for (const text of [
  '',
  '0',
  '0x0',
  '-1',
  '1.5G',
  '12X',
  '16iB',
  '0x',
  '0x1G',
  'M',
  '1e9',
  ' 1',
  '9007199254740992',
  '99999T',
]) {
  test(`parseSize() rejects '${text}'`, t => {
    t.throws(() => parseSize(text), { message: /is no size/ });
  });
}
