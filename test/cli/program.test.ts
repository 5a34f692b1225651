import test from 'ava';
import { COMMANDS } from '../../cli/commands/index.ts';
import { UsageError } from '../../cli/errors.ts';
import { invocationOf } from '../../cli/program.ts';

/** The text that these words ask for. */
function textOf(...argv: readonly string[]): string {
  const invocation = invocationOf(argv, {});
  return invocation.type === 'text' ? invocation.text : 'no text';
}

for (const { name, summary } of COMMANDS) {
  test(`invocationOf() hands its words to ${name}, with the options before its name`, t => {
    const help = textOf(name, '--help');
    t.true(help.startsWith(`Usage: unexec ${name} `), help);
    t.is(textOf('--json', '-qv', '--verbose', name, '--help'), help);
  });

  test(`${name} --help has examples, exit statuses and the options of every command`, t => {
    const help = textOf(name, '--help');
    t.regex(help, new RegExp(`^ {2}unexec ${name} `, 'm'));
    t.regex(help, /^Exit status:$/m);
    for (const option of ['--json', '-q, --quiet', '-v, --verbose']) t.true(help.includes(option), option);
  });

  test(`unexec --help tells of ${name}`, t => {
    const line =
      textOf('--help')
        .split('\n')
        .find(text => text.startsWith(`  unexec ${name} `)) ?? '';
    t.true(line.endsWith(summary), line);
  });

  test(`${name} tells of its own --help when the command line is wrong`, t => {
    const error = t.throws(() => invocationOf([name, '--nonsense'], {}), { instanceOf: UsageError });
    t.is(error?.hint, `unexec ${name} --help tells the options`);
  });
}

test('invocationOf() freezes what is named by a path, even where a command has its name', t => {
  for (const argv of [
    ['./verify', 'out'],
    ['--at', 'main', 'verify', 'out'],
    ['prog', 'verify'],
  ]) {
    t.is(invocationOf(argv, {}).type, 'run', argv.join(' '));
  }
  t.throws(() => invocationOf(['./verify'], {}), { message: /missing required argument 'out-binary'/ });
  t.throws(() => invocationOf(['verify'], {}), { message: /missing required argument 'file'/ });
});
