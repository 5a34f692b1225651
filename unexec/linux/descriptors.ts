/**
 * The open files of a stopped process, each told in a way that lets a new process have it again, or
 * refused by name with its remedy. Facts: proc(5) (fd, fdinfo), open(2), pipe(7), pty(7), ioctl_tty(2).
 *
 * @module
 */
import { closeSync, readSync } from 'node:fs';
import type { Reason } from '../errors.ts';
import type { FileKind, OpenFile } from '../image.ts';
import { anonymousFile } from './anonymous-files.ts';
import { fdOf, type HeldFile, holdFiles, infoOf } from './held-file.ts';
import { ioctl, syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { AF, freshSocket, peekMessages, socketFacts, unixPeer } from './sockets.ts';

export interface DescriptorOptions {
  /** Descriptors to leave out. */
  readonly drop: ReadonlySet<number>;
  /** Connected sockets become hung-up ones. */
  readonly hangupSockets: boolean;
  /** Paths that the program gave to inotify_add_watch, where its calls were traced. */
  readonly watchedPaths: readonly string[];
}

export interface DescriptorFindings {
  readonly files: OpenFile[];
  readonly refusals: Reason[];
}

const TCGETS = 0x5401;
const TIOCGWINSZ = 0x5413;
const FIONREAD = 0x541b;
const TIOCGPTLCK = 0x8004_5439;
const TERMIOS_SIZE = 36;
const F_GETSIG = 11;
const F_GETPIPE_SZ = 1032;
const F_SETPIPE_SZ = 1031;
const F_GET_SEALS = 1034;
const SPLICE_F_NONBLOCK = 2;
const POLLERR_POLLHUP = 0x8 | 0x10;
const S_IFMT = 0o170000;
const S_IF = { SOCK: 0o140000, REG: 0o100000, BLK: 0o060000, DIR: 0o040000, CHR: 0o020000, FIFO: 0o010000 };
/** major of mem(4) devices: /dev/null, zero, full, random, urandom. */
const MEM_MAJOR = 1n;
const TTY_DEVICE = makeDevice(5n, 0n);
const UNIX98_SLAVE_MAJORS = [136n, 143n] as const;

/** What cannot be kept is thrown as this, and collected. */
class Refusal extends Error {
  readonly reason: Reason;
  constructor(code: string, what: string, remedy: string) {
    super(what);
    this.reason = { code, what, remedy };
  }
}

/** Describes every open file of a stopped process. */
export function captureDescriptors(pid: number, options: DescriptorOptions): DescriptorFindings {
  const held = holdFiles(pid);
  const refusals: Reason[] = [];
  const files: OpenFile[] = [];
  try {
    const kept = held.files
      .map(file => ({ ...file, descriptors: file.descriptors.filter(({ fd }) => !options.drop.has(fd)) }))
      .filter(file => file.descriptors.length > 0);
    const context: Context = { pid, files: kept, options };
    for (const file of kept) {
      try {
        files.push({
          descriptors: file.descriptors,
          flags: file.flags,
          position: file.position,
          what: describe(file, context),
          locks: file.locks,
          signalOwner:
            (file.flags & O.ASYNC) === 0 ? undefined : { signal: syscall('fcntl', file.own, F_GETSIG, 0) },
        });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refusals.push(error.reason);
      }
    }
  } finally {
    held.closeAll();
  }
  return { files, refusals };
}

interface Context {
  readonly pid: number;
  readonly files: readonly HeldFile[];
  readonly options: DescriptorOptions;
}

function describe(file: HeldFile, context: Context): FileKind {
  const stdio = likeStdio(file, context.files);
  if (stdio !== undefined) return stdio;
  if (file.link.startsWith('anon_inode:')) {
    const found = anonymousFile(file, context.options.watchedPaths);
    if ('remedy' in found) throw new Refusal(found.code, found.what, found.remedy);
    return found;
  }
  switch (Number(file.stat.mode) & S_IFMT) {
    case S_IF.REG:
      return regularFile(file, context);
    case S_IF.DIR:
      return { type: 'path', path: ownPath(file, context), noun: 'directory' };
    case S_IF.CHR:
      return characterDevice(file, context);
    case S_IF.FIFO:
      return file.link.startsWith('pipe:') ? pipe(file, context) : refuse(file, 'FD_FIFO', 'a named pipe');
    case S_IF.SOCK:
      return socket(file, context);
    default:
      return refuse(file, 'FD_UNSUPPORTED', file.link);
  }
}

function refuse(file: HeldFile, code: string, noun: string, remedy?: string): never {
  const fd = fdOf(file);
  const link = noun.includes(file.link) ? '' : ` (${file.link})`;
  throw new Refusal(
    code,
    `descriptor ${fd} is ${noun}${link}`,
    remedy ?? `close it before the freeze point, or leave it out with --drop-fd ${fd}`,
  );
}

/**
 * Shares the open file description, the terminal or the file of descriptor 0, 1 or 2. A device such as
 * /dev/null that was opened once more is not meant: it does not lead to where stdio leads.
 */
function likeStdio(file: HeldFile, files: readonly HeldFile[]): FileKind | undefined {
  const stdio = ([0, 1, 2] as const).flatMap(fd => {
    const owner = files.find(other => other.descriptors.some(descriptor => descriptor.fd === fd));
    return owner === undefined ? [] : [{ fd, owner }];
  });
  const same = stdio.find(({ owner }) => owner === file);
  const termios = terminalModes(file);
  if (same !== undefined) return { type: 'stdio', like: same.fd, sameDescription: true, termios };
  const isDevice = (Number(file.stat.mode) & S_IFMT) === S_IF.CHR;
  const candidates = stdio.filter(({ owner }) =>
    isDevice
      ? termios !== undefined && owner.stat.rdev === file.stat.rdev
      : !file.link.startsWith('anon_inode:') &&
        owner.stat.ino === file.stat.ino &&
        owner.stat.dev === file.stat.dev,
  );
  const readOnly = (file.flags & O.ACCMODE) === O.RDONLY;
  const best = candidates.find(({ fd }) => (fd === 0) === readOnly) ?? candidates[0];
  return best && { type: 'stdio', like: best.fd, sameDescription: false, termios };
}

function terminalModes(file: HeldFile): Uint8Array | undefined {
  const termios = new Uint8Array(TERMIOS_SIZE);
  return ioctl(file.own, TCGETS, termios) < 0 ? undefined : termios;
}

function regularFile(file: HeldFile, context: Context): FileKind {
  if (file.link.startsWith('/memfd:') || file.stat.nlink === 0n) return inMemory(file);
  const path = ownPath(file, context);
  if (path.startsWith('/proc/') || path.startsWith('/sys/')) return { type: 'path', path, noun: 'file' };
  return {
    type: 'regular',
    path,
    size: Number(file.stat.size),
    mtime: {
      seconds: file.stat.mtimeNs / 1_000_000_000n,
      nanoseconds: file.stat.mtimeNs % 1_000_000_000n,
    },
    writable: (file.flags & O.ACCMODE) !== O.RDONLY,
  };
}

/** A memfd, or a file without a name: its contents travel in the image. */
function inMemory(file: HeldFile): FileKind {
  // A new hold of our own, as this one ends with the capture; the file cannot be opened by name.
  const own = syscall('fcntl', file.own, 0 /* F_DUPFD */, 3);
  const seals = syscall('fcntl', file.own, F_GET_SEALS, 0);
  return {
    type: 'memory',
    name: file.link.startsWith('/memfd:')
      ? file.link.slice('/memfd:'.length).replace(/ \(deleted\)$/, '')
      : 'deleted file',
    size: Number(file.stat.size),
    seals: Math.max(0, seals),
    inode: Number(file.stat.ino),
    contents: {
      read: (offset, into) => readThrough(own, file, into, offset),
      close: () => closeSync(own),
    },
  };
}

/** pread works on a write-only memfd only through a new description. */
function readThrough(own: number, file: HeldFile, into: Uint8Array, offset: number): number {
  if ((file.flags & O.ACCMODE) !== O.WRONLY) return readSync(own, into, 0, into.length, offset);
  refuse(file, 'FD_UNREADABLE', 'a deleted file that is open for writing only');
}

/** The path, with /proc/PID of the process itself written as /proc/self. */
function ownPath(file: HeldFile, { pid }: Context): string {
  if (file.link.endsWith(' (deleted)') && file.stat.nlink === 0n) {
    refuse(file, 'FD_DELETED', 'a directory or device that was deleted');
  }
  return file.link.replace(new RegExp(`^/proc/${pid}(?=/|$)`), '/proc/self');
}

function characterDevice(file: HeldFile, context: Context): FileKind {
  const path = ownPath(file, context);
  const { rdev } = file.stat;
  if (rdev === TTY_DEVICE) return { type: 'controlling-terminal', like: 0 };
  if (majorOf(rdev) === MEM_MAJOR) return { type: 'path', path, noun: 'device' };
  if (infoOf(file, 'tty-index') !== undefined) return ptyMaster(file);
  const major = majorOf(rdev);
  if (major >= UNIX98_SLAVE_MAJORS[0] && major <= UNIX98_SLAVE_MAJORS[1]) {
    const id = Number(minorOf(rdev) + (major - UNIX98_SLAVE_MAJORS[0]) * 256n);
    if (context.files.some(other => infoOf(other, 'tty-index') === String(id)))
      return { type: 'pty-slave', id };
    return refuse(file, 'FD_FOREIGN_TERMINAL', 'a terminal other than that of its descriptors 0 to 2');
  }
  return refuse(file, 'FD_DEVICE', 'a device whose state cannot be kept');
}

function ptyMaster(file: HeldFile): FileKind {
  const windowSize = new Uint8Array(8);
  const locked = new Uint8Array(4);
  const unread = new Uint8Array(4);
  ioctl(file.own, TIOCGWINSZ, windowSize);
  ioctl(file.own, TIOCGPTLCK, locked);
  if (ioctl(file.own, FIONREAD, unread) >= 0 && unread.some(byte => byte !== 0)) {
    refuse(file, 'FD_PTY_DATA', 'the master of a terminal with output that nobody has read yet');
  }
  return {
    type: 'pty-master',
    id: Number(infoOf(file, 'tty-index')),
    termios: terminalModes(file) ?? new Uint8Array(TERMIOS_SIZE),
    windowSize,
    locked: (locked[0] ?? 0) !== 0,
  };
}

function pipe(file: HeldFile, { files }: Context): FileKind {
  const end = (file.flags & O.ACCMODE) === O.WRONLY ? 'write' : 'read';
  const partner = files.some(
    other => other !== file && other.stat.ino === file.stat.ino && other.link === file.link,
  );
  if (!partner && !isHungUp(file)) {
    refuse(file, 'FD_OUTSIDE_PIPE', `the ${end} end of a pipe whose other end is outside the process`);
  }
  const capacity = syscall('fcntl', file.own, F_GETPIPE_SZ, 0);
  return {
    type: 'pipe',
    id: Number(file.stat.ino),
    end,
    capacity,
    unread: end === 'read' ? peekPipe(file, capacity) : new Uint8Array(),
  };
}

function isHungUp(file: HeldFile): boolean {
  const pollfd = new Uint8Array(8);
  const view = new DataView(pollfd.buffer);
  view.setInt32(0, file.own, true);
  return syscall('poll', pollfd, 1, 0) > 0 && (view.getUint16(6, true) & POLLERR_POLLHUP) !== 0;
}

/** What waits in a pipe, left there: tee(2) copies it into a pipe of our own. */
function peekPipe(file: HeldFile, capacity: number): Uint8Array {
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.NONBLOCK | O.CLOEXEC);
  const view = new DataView(ends.buffer);
  const [reader, writer] = [view.getInt32(0, true), view.getInt32(4, true)];
  try {
    syscall('fcntl', writer, F_SETPIPE_SZ, capacity);
    const copied = syscall('tee', file.own, writer, capacity, SPLICE_F_NONBLOCK);
    if (copied <= 0) return new Uint8Array();
    const bytes = new Uint8Array(copied);
    readSync(reader, bytes);
    return bytes;
  } finally {
    closeSync(reader);
    closeSync(writer);
  }
}

function socket(file: HeldFile, { files, options }: Context): FileKind {
  const facts = socketFacts(file);
  const known = facts.domain === AF.UNIX || facts.domain === AF.INET || facts.domain === AF.INET6;
  if (!known) return refuse(file, 'FD_SOCKET_FAMILY', `a socket of address family ${facts.domain}`);
  if (!facts.connected) return freshSocket(file, facts);
  if (facts.domain === AF.UNIX) {
    const peerInode = unixPeer(file.stat.ino);
    const peer = files.find(other => other.link === `socket:[${peerInode}]`);
    if (peer !== undefined) {
      return {
        type: 'socketpair',
        id: Math.min(Number(file.stat.ino), Number(peer.stat.ino)),
        end: file.stat.ino < peer.stat.ino ? 0 : 1,
        socketType: facts.socketType,
        unread: peekMessages(file, facts.socketType),
      };
    }
  }
  if (options.hangupSockets) return { type: 'hangup' };
  const fd = fdOf(file);
  return refuse(
    file,
    'FD_CONNECTED_SOCKET',
    'a connected socket whose peer is outside the process',
    `close it before the freeze point, give it a hang-up with --hangup-sockets, or leave it out with --drop-fd ${fd}`,
  );
}

const majorOf = (device: bigint): bigint => ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
const minorOf = (device: bigint): bigint => (device & 0xffn) | ((device >> 12n) & ~0xffn);
function makeDevice(major: bigint, minor: bigint): bigint {
  return (major << 8n) | minor;
}
