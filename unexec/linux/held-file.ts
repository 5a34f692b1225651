/**
 * A descriptor of the traced process, with a duplicate of our own (pidfd_getfd(2), Linux 5.6) to ask
 * what only a holder can ask. One `HeldFile` is one open file description.
 *
 * @module
 */
import { type BigIntStats, closeSync, fstatSync } from 'node:fs';
import { UnexecError } from '../errors.ts';
import type { Descriptor, FileLock } from '../image.ts';
import { errnoName } from './errno.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { readProc, readProcLink, readProcNumbers } from './proc.ts';

const KCMP_FILE = 0;

export interface HeldFile {
  /** Lowest descriptor first. */
  readonly descriptors: readonly Descriptor[];
  /** What /proc/PID/fd/N links to. */
  readonly link: string;
  readonly position: bigint;
  /** F_GETFL without O_CLOEXEC, which is a flag of the descriptor. */
  readonly flags: number;
  /** All lines of fdinfo. */
  readonly info: string;
  readonly locks: readonly FileLock[];
  /** Our duplicate. */
  readonly own: number;
  readonly stat: BigIntStats;
  /** Working directory of the process: relative names of sockets begin there. */
  readonly cwd: string;
}

/** The lowest descriptor: the one by which messages name a file. */
export const fdOf = (file: HeldFile): number => file.descriptors[0]?.fd ?? -1;

/** A line of fdinfo by its key, `eventfd-count` for example. */
export const infoOf = (file: HeldFile, key: string): string | undefined =>
  new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(file.info)?.[1];

/** Every open file description of a process. `closeAll` ends our hold on them. */
export function holdFiles(pid: number): { files: HeldFile[]; closeAll: () => void } {
  const pidfd = syscall('pidfd_open', pid, 0);
  if (pidfd < 0) throw failed('pidfd_open', pid, pidfd);
  const cwd = readProcLink(`/proc/${pid}/cwd`);
  const files: HeldFile[] = [];
  const closeAll = (): void => {
    closeSync(pidfd);
    for (const file of files) closeSync(file.own);
  };
  try {
    for (const fd of readProcNumbers(`/proc/${pid}/fd`)) {
      const link = readProcLink(`/proc/${pid}/fd/${fd}`);
      const info = readProc(`/proc/${pid}/fdinfo/${fd}`);
      const flags = Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '0', 8);
      const descriptor: Descriptor = { fd, closeOnExec: (flags & O.CLOEXEC) !== 0 };
      const same = files.findIndex(
        file => file.link === link && syscall('kcmp', pid, pid, KCMP_FILE, fdOf(file), fd) === 0,
      );
      const known = files[same];
      if (known !== undefined) {
        files[same] = { ...known, descriptors: [...known.descriptors, descriptor] };
        continue;
      }
      const own = syscall('pidfd_getfd', pidfd, fd, 0);
      if (own < 0) throw failed(`pidfd_getfd(${fd})`, pid, own);
      files.push({
        descriptors: [descriptor],
        link,
        position: BigInt(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? 0),
        flags: flags & ~O.CLOEXEC,
        info,
        locks: parseLocks(info),
        own,
        stat: fstatSync(own, { bigint: true }),
        cwd,
      });
    }
    return { files, closeAll };
  } catch (error) {
    closeAll();
    throw error;
  }
}

const failed = (what: string, pid: number, result: number): UnexecError =>
  new UnexecError('FD_UNREADABLE', `${what} of process ${pid}: ${errnoName(result)}`, {
    hint: 'Linux 5.6 or newer is needed to read the descriptors of a process',
  });

const LOCK_TYPES: ReadonlyMap<string, FileLock['type']> = new Map([
  ['FLOCK', 'flock'],
  ['POSIX', 'posix'],
  ['OFDLCK', 'ofd'],
]);

/** `lock: 1: POSIX  ADVISORY  WRITE 1234 fe:01:5678 0 EOF` (proc(5), fdinfo). */
function parseLocks(info: string): FileLock[] {
  const lines = info.matchAll(
    /^lock:\s+\d+: (POSIX|FLOCK|OFDLCK)\s+\S+\s+(READ|WRITE)\s+\S+\s+\S+\s+(\d+)\s+(\S+)$/gm,
  );
  return [...lines].map(([, type = '', mode, start, end]) => ({
    type: LOCK_TYPES.get(type) ?? 'posix',
    exclusive: mode === 'WRITE',
    start: Number(start),
    length: end === 'EOF' ? 0 : Number(end) - Number(start) + 1,
  }));
}
