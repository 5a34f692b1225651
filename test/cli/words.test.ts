import test from 'ava';
import { UsageError } from '../../cli/errors.ts';
import { splitWords } from '../../cli/words.ts';
import { run } from '../support/run.ts';

const texts: readonly string[] = [
  'a b  c',
  '  a\tb\n',
  "'a b' c",
  `"a b"'c d'e`,
  `a\\ b \\'c \\\\`,
  `"a \\" b" "c\\d"`,
  `'a\\b' '' ""`,
  'x""y',
  `--name='two words' -n`,
];

for (const text of texts) {
  test(`splitWords() gives the words that sh gives for ${JSON.stringify(text)}`, async t => {
    const { stdout } = await run('/bin/sh', { args: ['-c', `printf '%s\\0' ${text.replaceAll('\n', ' ')}`] });
    t.deepEqual(splitWords(text), stdout.split('\0').slice(0, -1));
  });
}

test('splitWords() expands nothing', t => {
  t.deepEqual(splitWords('$HOME * ~ `x`'), ['$HOME', '*', '~', '`x`']);
});

test('splitWords() gives no words for blank text', t => {
  t.deepEqual(splitWords(' \t '), []);
});

for (const text of ["'a", 'a "b', `"a\\"`]) {
  test(`splitWords() rejects the open quote of ${JSON.stringify(text)}`, t => {
    t.throws(() => splitWords(text), { instanceOf: UsageError, message: /quote is not closed/ });
  });
}
