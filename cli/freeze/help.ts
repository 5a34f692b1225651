/**
 * What `unexec --help` tells after the options.
 *
 * @module
 */
import { type Command, type Example, examplesSection, exitSection, helpSection } from '../command.ts';
import { EXIT_MEANINGS } from '../exit-codes.ts';
import { table } from '../render.ts';

/** Freeze points, as `--at` takes them. The README has the same table. */
export const FREEZE_POINTS: readonly (readonly [string, string])[] = [
  ['auto', 'the first of request, stop and input that happens'],
  ['now', 'a process that runs already: wherever it is'],
  ['request', 'the program asks, with unexec_freeze() of unexec.h'],
  ['stop', 'the program stops itself with SIGSTOP'],
  ['input', 'it blocks for input on descriptor 0, with nothing else to do'],
  ['main', 'libc calls main: libraries are loaded, arguments still to come'],
  ['symbol:NAME', 'a function of the program or of a library is entered'],
  ['output:TEXT', 'it has written TEXT to stdout or stderr'],
  ['time:DURATION', 'so long after its start: 500ms, 2s, 1m'],
  ['syscall:N', 'it is about to make its N-th system call'],
];

const EXAMPLES: readonly Example[] = [
  ['unexec perl report -- report.pl', 'report.pl loads its modules, then does: kill STOP => $$'],
  ['unexec --at input guile my-guile', 'a REPL that is at its prompt at once'],
  ['unexec --at main --env HOME ./server server', 'all libraries loaded and relocated'],
  ['unexec 1234 snapshot', 'process 1234 as it is; it goes on'],
  [
    'unexec --style shared --init urf_init libturf.so liburf.so',
    'a library that is initialised when it is opened',
  ],
];

/** The text after the list of options. */
export function helpText(commands: readonly Command[]): string {
  return [
    helpSection('Freeze points', table(FREEZE_POINTS)),
    helpSection('Other commands', table(commands.map(({ name, summary }) => [`unexec ${name}`, summary]))),
    '\nA program with the name of a command is frozen by its path: ./verify. Each command has its own --help.\n',
    exitSection(EXIT_MEANINGS),
    examplesSection(EXAMPLES),
    '\nThe executable holds the memory of the program, and with it every secret that the program knew.\n',
  ].join('');
}
