/**
 * A stopped sample program as `findZones` sees a process image, read from /proc alone: no ptrace, no
 * FFI. The program prints `thread TID FS_BASE` for each thread that it starts, whatever else the test
 * wants to know, and stops itself.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { endOf, PAGE, type Region } from '../../unexec/image.ts';
import type { ZoneView } from '../../unexec/zones.ts';

export interface LiveView {
  readonly view: ZoneView;
  readonly pid: number;
  /** What the program has written. */
  readonly output: string;
}

/** Starts the program, waits until it has stopped, hands its view to `look`, and ends it. */
export async function withStopped<T>(
  program: string,
  args: readonly string[],
  look: (live: LiveView) => T | Promise<T>,
  env: Readonly<Record<string, string>> = {},
): Promise<T> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  let memory: number | undefined;
  try {
    const pid = await untilStopped(child);
    memory = openSync(`/proc/${pid}/mem`, 'r');
    return await look({ view: liveView(pid, memory, output), pid, output });
  } finally {
    if (memory !== undefined) closeSync(memory);
    child.kill('SIGKILL');
  }
}

async function untilStopped(child: ChildProcess): Promise<number> {
  for (let waited = 0; waited < 60_000; waited += 5) {
    await setTimeout(5);
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (child.pid !== undefined && stat(child.pid)[2] === 'T') {
      // Its last output may still be in the pipe.
      await setTimeout(20);
      return child.pid;
    }
  }
  throw new Error(`${child.spawnfile} has not stopped itself (exit code ${child.exitCode})`);
}

/** The view of a process that stays stopped. */
export function liveView(pid: number, memory: number, output: string): ZoneView {
  const regions = parseMaps(readFileSync(`/proc/${pid}/maps`, 'utf8'));
  const startBrk = BigInt(stat(pid)[46] ?? 0);
  const heap = regions.filter(region => region.name === '[heap]').at(-1);
  return {
    regions,
    modules: modulesOf(regions),
    threads: readdirSync(`/proc/${pid}/task`).map(tid => ({
      registers: { rsp: stackPointer(pid, tid), fs_base: fsBase(tid, output) },
    })),
    layout: { startBrk, brk: heap === undefined ? startBrk : endOf(heap) },
    memory: {
      touched: region => [{ first: 0, count: region.size / PAGE }],
      read: (address, into) => {
        let done = 0;
        try {
          while (done < into.length)
            done += readSync(memory, into, done, into.length - done, Number(address) + done);
        } catch {
          into.fill(0, done);
        }
      },
    },
  };
}

/** Fields of /proc/PID/stat, counted from 0; comm may contain spaces. */
function stat(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const end = text.lastIndexOf(')');
  return [String(pid), text.slice(text.indexOf('(') + 1, end), ...text.slice(end + 2).split(' ')];
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
