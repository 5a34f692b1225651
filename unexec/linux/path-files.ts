/**
 * Files that have a path, and those that have none any more: a memfd, a deleted file. The contents of
 * the latter travel in the image. Facts: proc(5) (fd), open(2) (O_TMPFILE, O_PATH), memfd_create(2).
 *
 * @module
 */
import { closeSync, openSync, readSync, statfsSync, statSync } from 'node:fs';
import { fileTime } from '../file-time.ts';
import type { FileKind } from '../image.ts';
import type { Context } from './descriptors.ts';
import { majorOf, minorOf } from './device-number.ts';
import { fileStretches } from './file-stretches.ts';
import type { HeldFile } from './held-file.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { refuse } from './refusal.ts';

const F_DUPFD_CLOEXEC = 1030;
const F_GET_SEALS = 1034;
const DELETED = ' (deleted)';

/** Kinds of file systems by their magic numbers (linux/magic.h). */
const HUGETLBFS = 0x958458f6;
const MQUEUE = 0x19800202;

/** A regular file: by its path where that still leads to it, by its contents where it was deleted. */
export function regularFile(file: HeldFile, context: Context): FileKind {
  if (!file.link.startsWith('/')) {
    return refuse(file, 'FD_UNSUPPORTED', `a ${nounOf(file.link)}, which cannot be opened again`);
  }
  if (fileSystemOf(file) === MQUEUE) return refuse(file, 'FD_MESSAGE_QUEUE', 'a POSIX message queue');
  const path = ownPath(file, context);
  if (path.startsWith('/proc/') || path.startsWith('/sys/')) return { type: 'path', path, noun: 'file' };
  if (!leadsTo(path, file)) return file.link.endsWith(DELETED) ? inMemory(file) : refuseElsewhere(file);
  return {
    type: 'regular',
    path,
    size: Number(file.stat.size),
    mtime: fileTime(file.stat.mtimeNs),
    writable: (file.flags & O.ACCMODE) !== O.RDONLY,
  };
}

/** `pidfd:[1234]`, `net:[4026531840]`. */
const nounOf = (link: string): string =>
  link.replace(/:\[\d+\]$/, link.startsWith('pidfd') ? '' : ' namespace');

/** A directory, or what O_PATH opened: by its path. */
export function openedByPath(file: HeldFile, context: Context, noun: string): FileKind {
  const path = ownPath(file, context);
  if (!path.startsWith('/proc/') && !leadsTo(path, file)) {
    return file.link.endsWith(DELETED)
      ? refuse(file, 'FD_DELETED', `a ${noun} that was deleted`)
      : refuseElsewhere(file);
  }
  return { type: 'path', path, noun };
}

const refuseElsewhere = (file: HeldFile): never =>
  refuse(file, 'FD_PATH', 'a file that no path known here leads to (another mount namespace)');

const fileSystemOf = (file: HeldFile): number => statfsSync(`/proc/self/fd/${file.own}`).type;

/** The path, with /proc/PID of the process itself written as /proc/self. */
const ownPath = (file: HeldFile, { pid }: Context): string =>
  file.link.replace(new RegExp(`^/proc/${pid}(?=/|$)`), '/proc/self');

function leadsTo(path: string, file: HeldFile): boolean {
  try {
    const found = statSync(path, { bigint: true });
    return found.ino === file.stat.ino && found.dev === file.stat.dev;
  } catch {
    return false;
  }
}

/** A memfd, or a file without a name. */
export function inMemory(file: HeldFile): FileKind {
  if (file.link.startsWith('/secretmem')) {
    return refuse(file, 'FD_SECRET_MEMORY', 'secret memory (memfd_secret), which nobody else can read');
  }
  if (fileSystemOf(file) === HUGETLBFS) {
    return refuse(file, 'FD_HUGE_PAGES', 'memory of huge pages (MFD_HUGETLB)');
  }
  const own = readable(file);
  const size = Number(file.stat.size);
  return {
    type: 'memory',
    name: file.link.startsWith('/memfd:')
      ? file.link.slice('/memfd:'.length, file.link.endsWith(DELETED) ? -DELETED.length : undefined)
      : 'deleted file',
    size,
    seals: Math.max(0, syscall('fcntl', file.own, F_GET_SEALS, 0)),
    mode: Number(file.stat.mode) & 0o7777,
    device: deviceName(file.stat.dev),
    inode: Number(file.stat.ino),
    contents: {
      stretches: () => fileStretches(own, 0, size),
      read: (offset, into) => readSync(own, into, 0, into.length, offset),
      close: () => closeSync(own),
    },
  };
}

/** As /proc/PID/maps writes it. */
const deviceName = (device: bigint): string =>
  [majorOf(device), minorOf(device)].map(part => part.toString(16).padStart(2, '0')).join(':');

/**
 * A hold of our own, as the other ends with the capture. A description of its own where that is
 * possible: the one of the process may be open for writing only, or want aligned reads (O_DIRECT).
 */
function readable(file: HeldFile): number {
  try {
    return openSync(`/proc/self/fd/${file.own}`, 'r');
  } catch {
    const copy = syscall('fcntl', file.own, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0 && (file.flags & O.ACCMODE) !== O.WRONLY) return copy;
    if (copy >= 0) closeSync(copy);
    return refuse(file, 'FD_UNREADABLE', 'a deleted file that may only be written');
  }
}
