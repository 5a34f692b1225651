/**
 * A stopped sample program as `findZones` sees a process image, read from /proc alone: no ptrace, no
 * FFI. The program prints `thread TID FS_BASE` for each thread that it starts, whatever else the test
 * wants to know, and stops itself.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { endOf, PAGE, type Region } from '../../unexec/image.ts';
import type { ZoneView } from '../../unexec/zones.ts';

export interface LiveView {
  readonly pid: number;
  /** What the program had written when it stopped itself. */
  readonly output: string;
  readonly view: ZoneView;
  /** Lets it run on for a moment, stops it wherever it is, and looks again. */
  later(milliseconds: number): Promise<ZoneView>;
}

/** Starts the program, waits until it has stopped itself, hands it to `look`, and ends it. */
export async function withStopped<T>(
  program: string,
  args: readonly string[],
  look: (live: LiveView) => T | Promise<T>,
  env: Readonly<Record<string, string>> = {},
): Promise<T> {
  // Not a pipe: what is written to a file can be read as soon as the program has stopped.
  const written = join(mkdtempSync(join(tmpdir(), 'unexec-live-')), 'output');
  const stdout = openSync(written, 'w');
  const child = spawn(program, args, {
    stdio: ['ignore', stdout, 'inherit'],
    env: { ...process.env, ...env },
  });
  let memory: number | undefined;
  try {
    const pid = await untilStopped(child);
    const output = readFileSync(written, 'utf8');
    const opened = openSync(`/proc/${pid}/mem`, 'r');
    memory = opened;
    const later = async (milliseconds: number): Promise<ZoneView> => {
      child.kill('SIGCONT');
      await setTimeout(milliseconds);
      child.kill('SIGSTOP');
      await untilStopped(child);
      return liveView(pid, opened, output);
    };
    return await look({ pid, output, view: liveView(pid, opened, output), later });
  } finally {
    child.kill('SIGKILL');
    for (const file of [stdout, memory]) if (file !== undefined) closeSync(file);
    rmSync(dirname(written), { recursive: true });
  }
}

async function untilStopped(child: ChildProcess): Promise<number> {
  const { pid } = child;
  if (pid === undefined) throw new Error(`${child.spawnfile} cannot be started`);
  for (let waited = 0; waited < 60_000; waited++) {
    await setTimeout(1);
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (readdirSync(`/proc/${pid}/task`).every(tid => stat(`${pid}/task/${tid}`)[2] === 'T')) return pid;
  }
  throw new Error(`${child.spawnfile} has not stopped (exit code ${child.exitCode})`);
}

function liveView(pid: number, memory: number, output: string): ZoneView {
  const regions = parseMaps(readFileSync(`/proc/${pid}/maps`, 'utf8'));
  const startBrk = BigInt(stat(`${pid}`)[46] ?? 0);
  const heap = regions.findLast(region => region.name === '[heap]');
  return {
    regions,
    modules: modulesOf(regions),
    threads: readdirSync(`/proc/${pid}/task`).map(tid => ({
      stackPointer: stackPointer(pid, tid),
      threadPointer: fsBase(tid, output),
    })),
    layout: { startBrk, brk: heap === undefined ? startBrk : endOf(heap) },
    memory: {
      touched: region => [{ first: 0, count: region.size / PAGE }],
      read: (address, into) => {
        let done = 0;
        try {
          while (done < into.length) {
            done += readSync(memory, into, done, into.length - done, Number(address) + done);
          }
        } catch {
          into.fill(0, done);
        }
      },
    },
  };
}

/** Fields of /proc/TASK/stat from the second on, which may contain spaces; counted from 0. */
function stat(task: string): string[] {
  const text = readFileSync(`/proc/${task}/stat`, 'latin1');
  const end = text.lastIndexOf(')');
  return ['', text.slice(text.indexOf('(') + 1, end), ...text.slice(end + 2).split(' ')];
}

const parseMaps = (text: string): Region[] =>
  text
    .trimEnd()
    .split('\n')
    .map(line => {
      const [, start = '', end = '', mode = '', offset = '', device = '', inode = '', name = ''] =
        /^(\w+)-(\w+) (\S+) (\w+) (\S+) (\d+) *(.*)$/.exec(line) ?? [];
      return {
        start: BigInt(`0x${start}`),
        size: Number(BigInt(`0x${end}`) - BigInt(`0x${start}`)),
        read: mode[0] === 'r',
        write: mode[1] === 'w',
        execute: mode[2] === 'x',
        shared: mode[3] === 's',
        offset: Number.parseInt(offset, 16),
        device,
        inode: Number(inode),
        name,
        kind: 'anonymous',
        flags: new Set(),
      };
    });

/** Mapped files, in the order of their addresses but the program first, as its addresses are the lowest. */
function modulesOf(regions: readonly Region[]): ZoneView['modules'] {
  const modules = new Map<string, { path: string; start: bigint; end: bigint }>();
  for (const region of regions.filter(({ name }) => name.startsWith('/'))) {
    const start = modules.get(region.name)?.start ?? region.start;
    modules.set(region.name, { path: region.name, start, end: endOf(region) });
  }
  return [...modules.values()];
}

/** The stack pointer of a thread that is stopped; the second to last field. */
function stackPointer(pid: number, tid: string): bigint {
  const fields = readFileSync(`/proc/${pid}/task/${tid}/syscall`, 'utf8').trim().split(' ');
  return BigInt(fields.at(-2) ?? 0);
}

const fsBase = (tid: string, output: string): bigint =>
  BigInt(new RegExp(`^thread ${tid} (0x[0-9a-f]+)$`, 'm').exec(output)?.[1] ?? 0);
