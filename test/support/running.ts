/**
 * A program that runs on its own, as one that a user has started in a terminal: with descriptors 0 to 2 and no
 * others, stdout and stderr in a file.
 *
 * @module
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn, waitpid } from '../../unexec/linux/libc.ts';
import { threadState } from '../../unexec/linux/proc.ts';
import { PATH } from './run.ts';

const WNOHANG = 1;

export interface Running {
  readonly pid: number;
  /** What it has written so far. */
  written(): string;
  /** Until it has written this. */
  says(text: string): Promise<void>;
  /** Until its first thread is in this state (proc(5)). */
  becomes(state: string): Promise<void>;
  /** Its end: an exit status, or `signal N`. */
  ended(): Promise<number | string>;
  /** Kills it, if it is still there. */
  end(): Promise<void>;
}

export interface RunningOptions {
  readonly stdin?: number;
  readonly stdout?: number;
  /** More descriptors: its number, and ours. */
  readonly descriptors?: ReadonlyMap<number, number>;
}

/** Starts `command`, whose output goes to a new file `log`. */
export function start(command: readonly string[], log: string, options: RunningOptions = {}): Running {
  const nothing = openSync('/dev/null', 'r');
  const output = openSync(log, 'w', 0o666);
  const descriptors = new Map([
    [0, options.stdin ?? nothing],
    [1, options.stdout ?? output],
    [2, output],
    ...(options.descriptors ?? []),
  ]);
  const pid = spawn(command[0] ?? '', command, [`PATH=${PATH}`], descriptors);
  closeSync(nothing);
  closeSync(output);
  let end: number | string | undefined;
  const poll = (): number | string | undefined => {
    if (end !== undefined) return end;
    const waited = waitpid(pid, WNOHANG);
    if (waited === undefined) return undefined;
    if ('errno' in waited) throw new Error(`process ${pid} was waited for by somebody else`);
    const { status } = waited;
    end = (status & 0x7f) === 0 ? status >> 8 : `signal ${status & 0x7f}`;
    return end;
  };
  const until = async (what: string, is: () => boolean): Promise<void> => {
    for (let waited = 0; waited < 30_000; waited += 5) {
      if (is()) return;
      await sleep(5);
    }
    throw new Error(`process ${pid} (${command.join(' ')}) has not: ${what}; it said: ${written()}`);
  };
  const written = (): string => readFileSync(log, 'utf8');
  return {
    pid,
    written,
    says: text => until(`said «${text}»`, () => written().includes(text)),
    becomes: state => until(`come to state ${state}`, () => threadState(pid) === state),
    async ended() {
      await until('ended', () => poll() !== undefined);
      return end ?? 'running';
    },
    async end() {
      if (poll() !== undefined) return;
      process.kill(pid, 'SIGKILL');
      await until('ended', () => poll() !== undefined);
    },
  };
}
