/**
 * The README says what the command does: its tables of options, freeze points and exit statuses are those
 * of `--help`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { EXIT_MEANINGS } from '../../cli/exit-codes.ts';
import { FREEZE_POINTS } from '../../cli/freeze/help.ts';
import { freezeOptions } from '../../cli/freeze/options.ts';
import { ROOT } from '../support/sandbox.ts';

/** Without the padding of its tables. */
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8').replace(/ {2,}/g, ' ');

test('the README has every exit status as the command has it', t => {
  for (const [code, what] of EXIT_MEANINGS) t.true(readme.includes(`\n| ${code} | ${what} |\n`), what);
});

test('the README has every freeze point', t => {
  for (const [point] of FREEZE_POINTS) t.true(readme.includes(`\n| \`${point}\` | `), point);
});

test('the README has every option', t => {
  const options = freezeOptions({}, {}).map(({ long }) => long ?? '');
  for (const option of [...options, '--json', '--quiet', '--verbose']) {
    t.regex(readme, new RegExp(`\`${option}[ \`]`), option);
  }
});

test('ARCHITECTURE.md has at most 150 lines', t => {
  const lines = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8').split('\n');
  t.true(lines.length <= 151, `${lines.length} lines`);
});
