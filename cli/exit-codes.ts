/**
 * Exit statuses of the command, and which error has which. They are part of the interface: `--help`
 * prints this table, the README repeats it, and a test holds the three together.
 *
 * @module
 */

export const EXIT = {
  OK: 0,
  FAILURE: 1,
  USAGE: 2,
  REFUSED: 3,
  FREEZE_POINT: 4,
  TARGET: 5,
  PROGRAM: 6,
  FINDINGS: 7,
  SECRETS: 8,
  DIFFERENT: 9,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each means, in the order of `--help`. */
export const EXIT_MEANINGS: readonly (readonly [number | string, string])[] = [
  [EXIT.OK, 'the executable is written; the files are sound'],
  [EXIT.FAILURE, 'something failed that is none of the below'],
  [EXIT.USAGE, 'the command line is wrong'],
  [EXIT.REFUSED, 'the program holds something that cannot be kept; every reason is told'],
  [EXIT.FREEZE_POINT, 'the program did not reach its freeze point'],
  [EXIT.TARGET, 'the executable cannot be written; an old one is as it was'],
  [EXIT.PROGRAM, 'the program cannot be started or traced'],
  [EXIT.FINDINGS, 'a verified file breaks a rule; every finding is told'],
  [EXIT.SECRETS, 'an inspected file has what looks like a credential'],
  [EXIT.DIFFERENT, 'what was compared differs'],
  ['129, 130, 143', 'ended by SIGHUP, SIGINT or SIGTERM'],
];

/** Error codes that do not exit with `FAILURE`; `TARGET_…` are all alike. */
const EXIT_OF_ERROR: ReadonlyMap<string, ExitCode> = new Map<string, ExitCode>([
  ['USAGE', EXIT.USAGE],
  ['BAD_FREEZE_POINT', EXIT.USAGE],
  ['BAD_RESERVE', EXIT.USAGE],
  ['NOT_FOR_A_CORE', EXIT.USAGE],
  ['ONLY_FOR_A_CORE', EXIT.USAGE],
  ['ONLY_FOR_A_START', EXIT.USAGE],
  ['CPU_CHOSEN_ALREADY', EXIT.USAGE],
  ['COMPRESSED_TRAINING', EXIT.USAGE],
  ['CANNOT_BE_KEPT', EXIT.REFUSED],
  ['SETUID_PROGRAM', EXIT.REFUSED],
  ['PROCESS_32_BIT', EXIT.REFUSED],
  ['SCRIPT_AT_MAIN', EXIT.FREEZE_POINT],
  ['SECCOMP', EXIT.REFUSED],
  ['FREEZE_POINT_PASSED', EXIT.USAGE],
  ['ENDED_BEFORE_FREEZE_POINT', EXIT.FREEZE_POINT],
  ['SYMBOL_NOT_FOUND', EXIT.FREEZE_POINT],
  ['SYMBOL_IS_IFUNC', EXIT.FREEZE_POINT],
  ['PROGRAM_NOT_FOUND', EXIT.PROGRAM],
  ['PROGRAM_NOT_EXECUTABLE', EXIT.PROGRAM],
  ['SPAWN_FAILED', EXIT.PROGRAM],
  ['PTRACE_FAILED', EXIT.PROGRAM],
  ...[
    'NO_SUCH_PROCESS',
    'HIDDEN_PROCESS',
    'NO_PROCESS_BUT_THREAD',
    'OWN_PROCESS',
    'KERNEL_THREAD',
    'ZOMBIE',
    'ALREADY_TRACED',
    'OTHER_NAMESPACE',
    'OTHER_ROOT',
    'OTHER_USER',
    'SETUID_PROCESS',
    'NOT_DUMPABLE',
    'MORE_CAPABILITIES',
    'YAMA',
    'PTRACE_FILTERED',
    'PTRACE_NOT_PERMITTED',
    'SECURITY_MODULE',
  ].map(code => [code, EXIT.PROGRAM] as const),
  ['LIBRARY_NOT_FOUND', EXIT.PROGRAM],
  ['LIBRARY_NOT_LOADED', EXIT.PROGRAM],
  ['INITIALISER_NOT_FOUND', EXIT.FREEZE_POINT],
  ['CALL_CRASHED', EXIT.FREEZE_POINT],
  ['CALL_ENDED', EXIT.FREEZE_POINT],
  ['CALL_TIMED_OUT', EXIT.FREEZE_POINT],
]);

/** The exit status for an error's code. */
export function exitCodeOf(code: string): ExitCode {
  if (code.startsWith('TARGET_')) return EXIT.TARGET;
  return EXIT_OF_ERROR.get(code) ?? EXIT.FAILURE;
}

/** Numbers of the signals that the command handles (signal(7)); it then exits with 128 and the number. */
export const HANDLED_SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
export type HandledSignal = keyof typeof HANDLED_SIGNALS;

/** As a shell would report it. */
export const exitCodeOfSignal = (signal: HandledSignal): number => 128 + HANDLED_SIGNALS[signal];
