/**
 * Runs a program on a terminal of its own, as a person at a keyboard would: waits for what it says,
 * types, changes the window's size. Python's pty does the work (terminal.py).
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PATH } from './run.ts';
import { ROOT } from './sandbox.ts';

export type TerminalStep =
  /** Waits until the program has said this, after what was waited for before. */
  | readonly ['expect', string]
  /** Types; `\r` is the Return key. */
  | readonly ['send', string]
  /** Rows, columns. */
  | readonly ['resize', readonly [number, number]]
  /** Notes the terminal's modes, for `during`. */
  | readonly ['modes', null]
  /** Seconds. */
  | readonly ['pause', number];

export interface TerminalOutcome {
  /** All that appeared on the terminal. */
  readonly seen: string;
  /** Exit status, or minus the signal's number. */
  readonly status: number;
  /** What was waited for in vain. */
  readonly problem: string | null;
  /** Modes (struct termios, a text a field) before the program, at `modes`, and after its end. */
  readonly before: readonly string[];
  readonly during: readonly string[] | null;
  readonly after: readonly string[];
}

const ENVIRONMENT = { PATH, TERM: 'xterm', HOME: '/nonexistent' };

/** Runs a command on a new terminal of 24 rows and 80 columns. */
export async function onTerminal(
  command: readonly string[],
  steps: readonly TerminalStep[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    /** A script runs the command: at the end it says whether the terminal is as it was. */
    readonly leader?: boolean;
  } = {},
): Promise<TerminalOutcome> {
  const child = spawn('/usr/bin/python3', [join(ROOT, 'test/support/terminal.py')], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.end(
    JSON.stringify({ command, steps, leader: options.leader ?? false, env: options.env ?? ENVIRONMENT }),
  );
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (status !== 0) throw new Error(`terminal.py: status ${status}\n${stderr}`);
  return JSON.parse(stdout);
}

/** Freezes a program on a new terminal, at its first wait for input unless `at` says otherwise. */
export async function freezeOnTerminal(
  program: string,
  path: string,
  options: { readonly args: readonly string[]; readonly at?: string; readonly env?: readonly string[] },
): Promise<TerminalOutcome> {
  const self = fileURLToPath(new URL('./freeze-on-terminal.js', import.meta.url));
  const request = JSON.stringify([program, path, { at: 'input', ...options }]);
  return onTerminal([process.execPath, self, request], [], { leader: true });
}
