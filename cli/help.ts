/**
 * What `--help` tells after the options.
 *
 * @module
 */
import { EXIT_MEANINGS } from './exit-codes.ts';
import { table } from './render.ts';

/** Freeze points, as `--at` takes them. The README has the same table. */
export const FREEZE_POINTS: readonly (readonly [string, string])[] = [
  ['auto', 'the first of request, stop and input that happens'],
  ['request', 'the program asks, with unexec_freeze() of unexec.h'],
  ['stop', 'the program stops itself with SIGSTOP'],
  ['input', 'it blocks for input on descriptor 0, with nothing else to do'],
  ['main', 'libc calls main: libraries are loaded, arguments still to come'],
  ['symbol:NAME', 'a function of the program or of a library is entered'],
  ['output:TEXT', 'it has written TEXT to stdout or stderr'],
  ['time:DURATION', 'so long after its start: 500ms, 2s, 1m'],
  ['syscall:N', 'it is about to make its N-th system call'],
];

export const EXAMPLES: readonly (readonly [command: string, what: string])[] = [
  ['unexec perl report -- report.pl', 'report.pl loads its modules, then does: kill STOP => $$'],
  ['unexec --at input guile my-guile', 'a REPL that is at its prompt at once'],
  ['unexec --at main --env HOME ./server server', 'all libraries loaded and relocated'],
];

/** The text after the list of options. */
export function helpText(): string {
  const section = (title: string, lines: readonly string[]): string =>
    `\n${title}:\n${lines.map(line => `  ${line}`).join('\n')}\n`;
  return [
    section('Freeze points', table(FREEZE_POINTS)),
    section('Exit status', table(EXIT_MEANINGS.map(([code, what]) => [`${code}`, what]))),
    section(
      'Examples',
      EXAMPLES.flatMap(([command, what]) => [`# ${what}`, command]),
    ),
    '\nThe executable holds the memory of the program, and with it every secret that the program knew.\n',
  ].join('');
}
