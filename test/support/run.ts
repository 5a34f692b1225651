/**
 * Runs a program to its end. «The same result» is the oracle of most tests: what a program says without
 * interruption, against what its first life and its second life say together. A program that stops
 * itself is continued here, as a shell's `fg` would, so the same program can be run both ways.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface RunOptions {
  readonly args?: readonly string[];
  /** Whole environment. Default: PATH alone. */
  readonly env?: Readonly<Record<string, string>>;
  /** Text at its stdin. Default: none, /dev/null. */
  readonly stdin?: string;
  readonly cwd?: string;
  /** Argument zero, where it is not to be the path. */
  readonly argv0?: string;
  /** Runs it as nobody, when we are root. */
  readonly unprivileged?: boolean;
  /** Runs it through another program: `['setarch', '-R']`. */
  readonly through?: readonly string[];
  /** Open descriptors for stdout and stderr, instead of collecting them. */
  readonly output?: number;
  /** Milliseconds. Default: 60000. A program that takes longer is killed, and `signal` says so. */
  readonly timeout?: number;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Through this, a program runs as nobody. */
export const AS_NOBODY: readonly string[] = [
  '/usr/bin/setpriv',
  '--reuid',
  '65534',
  '--regid',
  '65534',
  '--clear-groups',
  '--',
];

export const isRoot: boolean = process.getuid?.() === 0;

/** Runs a program to its end, whatever that is. */
export async function run(program: string, options: RunOptions = {}): Promise<Outcome> {
  const identity = options.unprivileged === true && isRoot ? AS_NOBODY : [];
  const command = [...identity, ...(options.through ?? []), program, ...(options.args ?? [])];
  const output = options.output ?? 'pipe';
  const child = spawn(command[0] ?? program, command.slice(1), {
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', output, output],
    env: options.env ?? { PATH },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.argv0 === undefined ? {} : { argv0: options.argv0 }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin?.on('error', () => {}); // a program may end without reading it all
  child.stdin?.end(options.stdin);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout ?? 60_000);
  const continuing = setInterval(() => {
    if (child.pid !== undefined && isStopped(child.pid)) child.kill('SIGCONT');
  }, 20);
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => resolve({ stdout, stderr, status, signal }));
    });
  } finally {
    clearTimeout(timer);
    clearInterval(continuing);
  }
}

function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] === 'T';
  } catch {
    return false;
  }
}
