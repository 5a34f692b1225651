/**
 * What /proc tells of a process to everybody, or to whom it lets: who it is, and where. What cannot be read is
 * undefined. Facts: proc(5), namespaces(7); PF_KTHREAD of include/linux/sched.h.
 *
 * @module
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';

const PF_KTHREAD = 0x0020_0000n;
const ELFCLASS32 = 1;

/** Reads what /proc has; undefined where that cannot be read. */
export interface ProcReader {
  text(path: string): string | undefined;
  link(path: string): string | undefined;
  owner(path: string): number | undefined;
  entries(path: string): readonly string[];
  start(path: string, length: number): Uint8Array | undefined;
}

export interface ProcessFacts {
  readonly pid: number;
  readonly name: string;
  /** One letter (proc(5): R, S, D, T, t, Z, X). */
  readonly state: string;
  /** Tgid: the process, of which `pid` may be a thread. */
  readonly group: number;
  readonly parent: number;
  /** TracerPid; 0: none. */
  readonly tracer: number;
  /** Real, effective, saved, file system. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  /** Capabilities, a bit each. */
  readonly permitted: bigint;
  readonly effective: bigint;
  /** 0: none. */
  readonly seccomp: number;
  readonly threads: number;
  readonly isKernelThread: boolean;
  readonly is32Bit: boolean;
  /** Whom the files of /proc/PID belong to (its directory is the user's in any case). */
  readonly owner: number | undefined;
  readonly namespaces: Readonly<Record<'user' | 'pid' | 'mnt' | 'time', string | undefined>>;
  readonly root: string | undefined;
  /** First digits of the name that docker and its kin give a container. */
  readonly container: string | undefined;
}

/** Undefined where there is no such process. */
export function processFacts(pid: number, proc: ProcReader): ProcessFacts | undefined {
  const status = proc.text(`/proc/${pid}/status`);
  if (status === undefined) return undefined;
  const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  const numbers = (name: string): number[] => field(name).split(/\s+/).map(Number);
  const capabilities = (name: string): bigint => BigInt(`0x${field(name) || '0'}`);
  const namespace = (kind: string): string | undefined => proc.link(`/proc/${pid}/ns/${kind}`);
  return {
    pid,
    name: field('Name'),
    state: field('State').slice(0, 1),
    group: Number(field('Tgid')),
    parent: Number(field('PPid')),
    tracer: Number(field('TracerPid')),
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    permitted: capabilities('CapPrm'),
    effective: capabilities('CapEff'),
    seccomp: Number(field('Seccomp') || 0),
    threads: proc.entries(`/proc/${pid}/task`).length,
    isKernelThread: isKernelThread(proc.text(`/proc/${pid}/stat`) ?? ''),
    is32Bit: proc.start(`/proc/${pid}/exe`, 5)?.[4] === ELFCLASS32,
    owner: proc.owner(`/proc/${pid}/status`),
    namespaces: {
      user: namespace('user'),
      pid: namespace('pid'),
      mnt: namespace('mnt'),
      time: namespace('time'),
    },
    root: proc.link(`/proc/${pid}/root`),
    container: /[-/]([0-9a-f]{12})[0-9a-f]{52}\b/.exec(proc.text(`/proc/${pid}/cgroup`) ?? '')?.[1],
  };
}

/** Field 9 of stat, counted from behind the name, which may hold anything. */
function isKernelThread(stat: string): boolean {
  const flags = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6] ?? '0';
  return /^\d+$/.test(flags) && (BigInt(flags) & PF_KTHREAD) !== 0n;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // gone, or not for us to see
  }
}

/** /proc itself. */
export const PROC: ProcReader = {
  text: path => attempt(() => readFileSync(path, 'latin1')),
  link: path => attempt(() => readlinkSync(path)),
  owner: path => attempt(() => statSync(path).uid),
  entries: path => attempt(() => readdirSync(path)) ?? [],
  start: (path, length) =>
    attempt(() => {
      const file = openSync(path, 'r');
      try {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, readSync(file, bytes, 0, length, 0));
      } finally {
        closeSync(file);
      }
    }),
};
