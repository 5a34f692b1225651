/**
 * Starts a program under our trace, from its very first instruction. A shell waits at a pipe until it
 * is traced and then becomes the program: no helper binary is needed, and where this process dies in
 * between, the shell reads the end of the pipe and is gone too.
 *
 * @module
 */
import { accessSync, closeSync, constants, statSync, writeSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { UnexecError } from '../errors.ts';
import { spawn, syscall } from '../linux/libc.ts';
import { O } from '../linux/open-flags.ts';
import { readProc } from '../linux/proc.ts';
import { seizeChild } from '../linux/seize.ts';
import type { Tracee } from '../linux/tracee.ts';
import { beforeStart } from './before-start.ts';
import { fixRandomBytes, withFixedStart } from './fixed-start.ts';

/** Descriptor of the pipe in the shell: one digit, as POSIX shells take no more. */
const GATE = 9;
/** What the shell sets by itself does not come from the caller, and is not wanted. */
const SCRIPT_START = `read -r _ <&${GATE} || exit 125; `;
const SCRIPT_END = `exec "$0" "$@" ${GATE}<&-`;
const SCRIPT = `${SCRIPT_START}unset PWD OLDPWD SHLVL _; ${SCRIPT_END}`;
const SCRIPT_KEEPING = `${SCRIPT_START}${SCRIPT_END}`;
const S_ISUID_OR_S_ISGID = 0o6000;

/** What a program gets that is given no environment: nothing of the caller's. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface LaunchOptions {
  readonly args: readonly string[];
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  /** The caller's whole environment was asked for: what the shell would drop stays. */
  readonly keepEnv: boolean;
  /** Our descriptors that become the program's 0, 1 and 2. */
  readonly stdio: readonly [number, number, number];
  /** Addresses and the kernel's random bytes are the same each time. */
  readonly fixed?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a program and stops it in its exec stop, before its first instruction.
 *
 * @throws UnexecError `PROGRAM_NOT_FOUND`, `PROGRAM_NOT_EXECUTABLE`, `SETUID_PROGRAM`, `SPAWN_FAILED`
 */
export async function launch(program: string, options: LaunchOptions): Promise<Tracee> {
  const path = findProgram(program);
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.CLOEXEC);
  const view = new DataView(ends.buffer);
  const [reader, writer] = [view.getInt32(0, true), view.getInt32(4, true)];
  const [stdin, stdout, stderr] = options.stdio;
  let tracee: Tracee | undefined;
  try {
    const start = (): number =>
      spawn(
        '/bin/sh',
        ['sh', '-c', options.keepEnv ? SCRIPT_KEEPING : SCRIPT, path, ...options.args],
        options.env,
        new Map([
          [0, stdin],
          [1, stdout],
          [2, stderr],
          [GATE, reader],
        ]),
      );
    const pid = options.fixed === true ? withFixedStart(start) : start();
    tracee = seizeChild(pid, options.signal);
    writeSync(writer, '\n');
    await runToExec(tracee, path);
    beforeStart(tracee.pid);
    if (options.fixed === true) fixRandomBytes(tracee.pid);
    return tracee;
  } catch (error) {
    tracee?.kill();
    throw error;
  } finally {
    closeSync(reader);
    closeSync(writer);
  }
}

async function runToExec(tracee: Tracee, path: string): Promise<void> {
  for (;;) {
    const stop = await tracee.next();
    // The shell itself may only now be starting: posix_spawn returns in the middle of its exec.
    if (stop?.type === 'exec' && !readProc(`/proc/${tracee.pid}/cmdline`).includes(SCRIPT_START)) return;
    if (stop?.type === 'ended') {
      throw new UnexecError('PROGRAM_NOT_EXECUTABLE', `${path} could not be started (${stop.how})`, {
        path,
        hint: 'is it a program for this machine, or a script whose interpreter exists?',
      });
    }
    if (stop?.type === 'new-process') tracee.releaseChild(stop.child);
    if (stop !== undefined) tracee.resume(stop.tid, 'run', stop.type === 'signal' ? stop.signal : 0);
  }
}

/** Resolves a program as a shell does: by PATH where it has no slash. */
export function findProgram(program: string): string {
  const candidates = program.includes('/')
    ? [resolve(program)]
    : (process.env['PATH'] ?? DEFAULT_PATH).split(delimiter).map(dir => join(dir, program));
  for (const path of candidates) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || stat.isDirectory()) continue;
    if (!isExecutable(path)) {
      if (!program.includes('/')) continue;
      throw new UnexecError('PROGRAM_NOT_EXECUTABLE', `${path} is not executable`, {
        path,
        hint: `chmod +x ${path}`,
      });
    }
    if ((stat.mode & S_ISUID_OR_S_ISGID) !== 0) {
      throw new UnexecError(
        'SETUID_PROGRAM',
        `${path} is setuid or setgid: its image would hold another user's memory`,
        {
          path,
        },
      );
    }
    return path;
  }
  throw new UnexecError('PROGRAM_NOT_FOUND', `${program}: no such program`, { path: program });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
