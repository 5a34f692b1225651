/**
 * Pipes with both ends in the process, or with the other end closed: what waits to be read is copied
 * and left where it is. Facts: pipe(7), tee(2), poll(2).
 *
 * @module
 */
import { closeSync, readSync } from 'node:fs';
import type { FileKind } from '../image.ts';
import type { Context } from './descriptors.ts';
import type { HeldFile } from './held-file.ts';
import { ioctl, syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { eventsOf, POLL } from './poll.ts';
import { refuse } from './refusal.ts';

const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FIONREAD = 0x541b;
const SPLICE_F_NONBLOCK = 2;

export function pipe(file: HeldFile, { files }: Context): FileKind {
  const end = canRead(file) ? 'read' : 'write';
  const ends = endsOf(file, files);
  if (!hasOtherEnd(file, files) && !isHungUp(file)) {
    refuse(file, 'FD_OUTSIDE_PIPE', `the ${end} end of a pipe whose other end is outside the process`);
  }
  const capacity = syscall('fcntl', file.own, F_GETPIPE_SZ, 0);
  // All descriptions of one pipe see the same bytes: the first one that can read them tells.
  const tells = ends.find(canRead) === file && unreadBytes(file) > 0;
  if (tells && ends.some(({ flags }) => (flags & O.DIRECT) !== 0)) {
    refuse(file, 'FD_PACKETS', 'a pipe with packets (O_DIRECT) that nobody has read yet');
  }
  const unread = tells ? peekPipe(file, capacity) : new Uint8Array();
  return { type: 'pipe', id: Number(file.stat.ino), end, capacity, unread };
}

const endsOf = (file: HeldFile, files: readonly HeldFile[]): HeldFile[] =>
  files.filter(other => other.stat.ino === file.stat.ino && other.link === file.link);

const canRead = (file: HeldFile): boolean => (file.flags & O.ACCMODE) !== O.WRONLY;
const canWrite = (file: HeldFile): boolean => (file.flags & O.ACCMODE) !== O.RDONLY;

/** The process has what is written here, or writes what is read here. */
export function hasOtherEnd(file: HeldFile, files: readonly HeldFile[]): boolean {
  const ends = endsOf(file, files);
  return ends.some(canRead) && ends.some(canWrite);
}

const isHungUp = (file: HeldFile): boolean => (eventsOf(file.own, 0) & (POLL.ERR | POLL.HUP)) !== 0;

/** What waits in a pipe, left there: tee(2) copies it into a pipe of our own. */
function peekPipe(file: HeldFile, capacity: number): Uint8Array {
  const waiting = unreadBytes(file);
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.NONBLOCK | O.CLOEXEC);
  const view = new DataView(ends.buffer);
  const [reader, writer] = [view.getInt32(0, true), view.getInt32(4, true)];
  try {
    syscall('fcntl', writer, F_SETPIPE_SZ, capacity);
    const copied = syscall('tee', file.own, writer, capacity, SPLICE_F_NONBLOCK);
    const bytes = new Uint8Array(Math.max(0, copied));
    if (copied > 0) readSync(reader, bytes);
    // /proc/sys/fs/pipe-user-pages-soft may give us a smaller pipe than the program has.
    if (copied !== waiting) {
      refuse(
        file,
        'FD_PIPE_DATA',
        `a pipe with ${waiting} unread bytes, of which ${bytes.length} can be copied`,
      );
    }
    return bytes;
  } finally {
    closeSync(reader);
    closeSync(writer);
  }
}

/** FIONREAD: bytes that wait to be read. */
export function unreadBytes(file: HeldFile): number {
  const waiting = new Uint8Array(4);
  return ioctl(file.own, FIONREAD, waiting) < 0 ? 0 : new DataView(waiting.buffer).getInt32(0, true);
}
