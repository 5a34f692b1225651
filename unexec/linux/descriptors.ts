/**
 * The open files of a stopped process, each told in a way that lets a new process have it again, or
 * refused by name with its remedy. Facts: proc(5) (fd, fdinfo), open(2), fcntl(2).
 *
 * @module
 */
import type { Reason } from '../errors.ts';
import type { FileKind, OpenFile } from '../image.ts';
import { anonymousFile } from './anonymous-files.ts';
import { type HeldFile, holdFiles } from './held-file.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { inMemory, openedByPath, regularFile } from './path-files.ts';
import { hasOtherEnd, pipe } from './pipes.ts';
import { Refusal, refuse } from './refusal.ts';
import { pairedWith, socket } from './sockets.ts';
import { characterDevice, masterOf, terminalModes } from './terminals.ts';

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

/** What is known while one file is looked at. */
export interface Context {
  readonly pid: number;
  /** All files that are kept. */
  readonly files: readonly HeldFile[];
  readonly options: DescriptorOptions;
}

const F_GETSIG = 11;
const F_GETOWN = 9;
const S_IFMT = 0o170000;
const S_IF = { SOCK: 0o140000, REG: 0o100000, BLK: 0o060000, DIR: 0o040000, CHR: 0o020000, FIFO: 0o010000 };

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
          locks: locksOf(file),
          signalOwner: signalOwner(file, pid),
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

function describe(file: HeldFile, context: Context): FileKind {
  const stdio = likeStdio(file, context.files);
  if (stdio !== undefined) return stdio;
  if (file.link.startsWith('anon_inode:')) return anonymousFile(file, context);
  if (file.link.startsWith('/memfd:')) return inMemory(file);
  if ((file.flags & O.PATH) !== 0) return openedByPath(file, context, 'path');
  switch (typeOf(file)) {
    case S_IF.REG:
      return regularFile(file, context);
    case S_IF.DIR:
      return openedByPath(file, context, 'directory');
    case S_IF.CHR:
      return characterDevice(file, context);
    case S_IF.FIFO:
      return file.link.startsWith('pipe:') ? pipe(file, context) : refuse(file, 'FD_FIFO', 'a named pipe');
    case S_IF.SOCK:
      return socket(file, context);
    case S_IF.BLK:
      return refuse(file, 'FD_DEVICE', 'a block device');
    default:
      return refuse(file, 'FD_UNSUPPORTED', `of a kind that unexec does not know: ${file.link}`);
  }
}

const typeOf = (file: HeldFile): number => Number(file.stat.mode) & S_IFMT;

/**
 * Shares the open file description, the terminal or the file of descriptor 0, 1 or 2. A device such as
 * /dev/null that was opened once more is not meant: it does not lead to where stdio leads. Nor is what
 * has its other end in the process: a program that catches its own output.
 */
function likeStdio(file: HeldFile, files: readonly HeldFile[]): FileKind | undefined {
  const stdio = ([0, 1, 2] as const).flatMap(fd => {
    const owner = files.find(other => other.descriptors.some(descriptor => descriptor.fd === fd));
    return owner === undefined || leadsInside(owner, files) ? [] : [{ fd, owner }];
  });
  const same = stdio.find(({ owner }) => owner === file);
  const termios = terminalModes(file);
  if (same !== undefined) return { type: 'stdio', like: same.fd, sameDescription: true, termios };
  const isDevice = typeOf(file) === S_IF.CHR;
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

/** The other end is in the process too. */
function leadsInside(file: HeldFile, files: readonly HeldFile[]): boolean {
  if (file.link.startsWith('pipe:')) return hasOtherEnd(file, files);
  if (file.link.startsWith('socket:')) return pairedWith(file, files) !== undefined;
  return masterOf(file, files) !== undefined;
}

function locksOf(file: HeldFile): HeldFile['locks'] {
  if (/^lock:.*\b(LEASE|DELEG)\b/m.test(file.info))
    refuse(file, 'FD_LEASE', 'a file with a lease (F_SETLEASE)');
  return file.locks;
}

/** Only what goes to the process itself can be directed to the new one. */
function signalOwner(file: HeldFile, pid: number): OpenFile['signalOwner'] {
  if (syscall('fcntl', file.own, F_GETOWN, 0) !== pid) return undefined;
  return { signal: syscall('fcntl', file.own, F_GETSIG, 0) };
}
