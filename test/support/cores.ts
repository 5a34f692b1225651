/**
 * Cores of running programs, as others write them: the kernel, gcore, qemu-user. The program says what it has to say
 * and then stops itself, or waits at a read.
 *
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATH } from './run.ts';

export interface TakenCore {
  readonly path: string;
  /** What the program wrote until then. */
  readonly written: string;
}

const CORE_PATTERN = '/proc/sys/kernel/core_pattern';
const PATIENCE = 20_000;

/** A core of a program that stops itself, by the kernel (SIGQUIT). */
export async function kernelCore(
  command: readonly string[],
  directory: string,
  options: { readonly signal?: NodeJS.Signals; readonly filter?: string } = {},
): Promise<TakenCore> {
  const cwd = mkdtempSync(join(directory, 'kernel-'));
  const restore = plainPattern();
  try {
    const started = start(command, cwd);
    await stopped(started.child);
    const pid = started.child.pid ?? 0;
    if (options.filter !== undefined) writeFileSync(`/proc/${pid}/coredump_filter`, options.filter);
    started.child.kill(options.signal ?? 'SIGQUIT');
    started.child.kill('SIGCONT');
    await once(started.child, 'exit');
    return { path: named(cwd, name => name.startsWith('core')), written: started.written() };
  } finally {
    restore();
  }
}

/** The same by gcore, of the package gdb. */
export async function gdbCore(command: readonly string[], directory: string): Promise<TakenCore> {
  const cwd = mkdtempSync(join(directory, 'gcore-'));
  const started = start(command, cwd);
  await stopped(started.child);
  execFileSync('gcore', ['-o', join(cwd, 'core'), `${started.child.pid}`], { stdio: 'ignore' });
  started.child.kill('SIGKILL');
  await once(started.child, 'exit');
  return { path: named(cwd, name => name.startsWith('core')), written: started.written() };
}

/** By qemu-user, of a program that waits at a read. `command` begins with the emulator. */
export async function qemuCore(command: readonly string[], directory: string): Promise<TakenCore> {
  const cwd = mkdtempSync(join(directory, 'qemu-'));
  const started = start(command, cwd);
  await until(() => started.written().includes('\n'), `${command.join(' ')} writes a line`);
  await sleep(300);
  started.child.kill('SIGABRT');
  await once(started.child, 'exit');
  return { path: named(cwd, name => name.startsWith('qemu_')), written: started.written() };
}

/** A running program that has stopped itself, for who takes its core by pid. */
export async function stoppedProgram(command: readonly string[], directory: string) {
  const started = start(command, mkdtempSync(join(directory, 'stopped-')));
  await stopped(started.child);
  return { pid: started.child.pid ?? 0, child: started.child, written: started.written };
}

/** Without what we have inherited ourselves: a descriptor that leads elsewhere is refused. */
const ALONE = 'for fd in $(ls /proc/$$/fd); do [ "$fd" -gt 2 ] && eval "exec $fd>&-"; done';

function start(command: readonly string[], cwd: string) {
  const script = `ulimit -c unlimited; ${ALONE}; exec "$@"`;
  const child = spawn('/bin/bash', ['--norc', '-c', script, 'bash', ...command], {
    cwd,
    env: { PATH },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return { child, written: () => text };
}

const stopped = ({ pid }: ChildProcess): Promise<void> =>
  until(() => / T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')), 'the program stops itself');

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited for ${PATIENCE} ms until ${what}`);
    await sleep(10);
  }
}

/** Has the kernel write cores into the directory of their process; gives back what undoes that. */
function plainPattern(): () => void {
  const before = readFileSync(CORE_PATTERN, 'utf8');
  if (!/^[|/]/.test(before)) return () => {};
  try {
    writeFileSync(CORE_PATTERN, 'core');
  } catch (cause) {
    throw new Error(`${CORE_PATTERN} sends cores elsewhere: echo core > ${CORE_PATTERN}, as root`, { cause });
  }
  return () => writeFileSync(CORE_PATTERN, before);
}

function named(directory: string, matches: (name: string) => boolean): string {
  const name = readdirSync(directory).find(matches);
  if (name === undefined)
    throw new Error(`no core in ${basename(directory)}: ${readdirSync(directory).join(' ')}`);
  const path = join(directory, name);
  if (!existsSync(path)) throw new Error(`${path} is gone`);
  return path;
}
