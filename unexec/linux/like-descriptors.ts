/**
 * Descriptors 0 to 2 for another run of a program that is to do the same: alike as far as a program can see,
 * but nobody sees what it writes, and it takes no input from anybody.
 *
 * What they are shows in memory: glibc gives a stream on a terminal a buffer of 1024 bytes and one on a pipe or
 * a file 4096 (`_IO_file_doallocate`: st_blksize), and whatever is allocated later lies elsewhere. So a
 * terminal stands for a terminal (of its own, with the same modes and size), and a file that is read is read
 * from the same place again. What is written to anything else goes to /dev/null, whose blocks are of 4096
 * bytes too; from anything else nothing can be read.
 *
 * Facts: pty(7), ioctl_tty(2), proc(5) (fdinfo).
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs';
import { UnexecError } from '../errors.ts';
import { ioctl, syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { readProc } from './proc.ts';

const TCGETS = 0x5401;
const TCSETS = 0x5402;
const TIOCGWINSZ = 0x5413;
const TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x8004_5430;
const TIOCSPTLCK = 0x4004_5431;
const TERMIOS_SIZE = 36;

export type Stdio = readonly [number, number, number];

/** What is known of the first run's descriptors, taken before it runs: it may read on, and change modes. */
export interface RememberedStdio {
  /**
   * Opens others like them.
   *
   * @param waits who reads what cannot be read again waits for ever; otherwise it finds the end of a file
   */
  open(waits: boolean): LikeStdio;
}

export interface LikeStdio {
  readonly stdio: Stdio;
  /** When the run has ended. */
  close(): void;
}

export function rememberStdio(stdio: Stdio): RememberedStdio {
  const terminals = stdio.map(terminalOf);
  const input = readFileOf(stdio[0]);
  return { open: waits => openLike(terminals, input, waits) };
}

interface Terminal {
  readonly termios: Uint8Array;
  readonly windowSize: Uint8Array;
}

function terminalOf(fd: number): Terminal | undefined {
  const termios = new Uint8Array(TERMIOS_SIZE);
  const windowSize = new Uint8Array(8);
  if (ioctl(fd, TCGETS, termios) < 0) return undefined;
  ioctl(fd, TIOCGWINSZ, windowSize);
  return { termios, windowSize };
}

interface ReadFile {
  readonly path: string;
  readonly position: number;
}

/** A file that can be opened again; its position is that of everybody who shares the descriptor. */
function readFileOf(fd: number): ReadFile | undefined {
  if (!fstatSync(fd).isFile()) return undefined;
  const [, position = '0'] = /^pos:\s*(\d+)/m.exec(readProc(`/proc/self/fdinfo/${fd}`)) ?? [];
  return { path: `/proc/self/fd/${fd}`, position: Number(position) };
}

function openLike(
  terminals: readonly (Terminal | undefined)[],
  input: ReadFile | undefined,
  waits: boolean,
): LikeStdio {
  const opened: number[] = [];
  const keep = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  let terminal: number | undefined;
  const closeAll = (): void => {
    for (const fd of opened) closeSync(fd);
  };
  try {
    const [first, ...rest] = terminals.map(like => {
      if (like === undefined) return undefined;
      terminal ??= keep(openTerminal(like));
      return terminal;
    });
    const nowhere = keep(openSync('/dev/null', 'w'));
    const stdin = first ?? (input === undefined ? silence(keep, waits) : keep(reopened(input)));
    return { stdio: [stdin, rest[0] ?? nowhere, rest[1] ?? nowhere], close: closeAll };
  } catch (error) {
    closeAll();
    throw error;
  }
}

/** A pipe to which nobody writes. */
function silence(keep: (fd: number) => number, waits: boolean): number {
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.CLOEXEC);
  const view = new DataView(ends.buffer);
  if (waits) keep(view.getInt32(4, true));
  else closeSync(view.getInt32(4, true));
  return keep(view.getInt32(0, true));
}

const BLOCK = 65_536;

function reopened({ path, position }: ReadFile): number {
  const fd = openSync(path, 'r');
  const block = new Uint8Array(BLOCK);
  for (let at = 0; at < position; ) {
    const count = readSync(fd, block, 0, Math.min(BLOCK, position - at), null);
    if (count === 0) break;
    at += count;
  }
  return fd;
}

/**
 * The program's end of a new terminal. What is written to it is read and forgotten, or it would fill up and
 * its writer wait.
 *
 * @throws UnexecError `NO_TERMINAL`
 */
function openTerminal({ termios, windowSize }: Terminal): number {
  let master: number;
  try {
    master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  } catch (cause) {
    throw new UnexecError('NO_TERMINAL', 'no terminal can be made for another run of the program', { cause });
  }
  try {
    const number = new Uint8Array(4);
    ioctl(master, TIOCSPTLCK, new Uint8Array(4));
    ioctl(master, TIOCGPTN, number);
    const path = `/dev/pts/${new DataView(number.buffer).getUint32(0, true)}`;
    const slave = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
    ioctl(slave, TCSETS, termios);
    ioctl(slave, TIOCSWINSZ, windowSize);
    drain(master);
    return slave;
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Until the last one who has the other end closes it: then reading fails (EIO). */
function drain(master: number): void {
  const block = new Uint8Array(BLOCK);
  const next = (): void =>
    read(master, block, 0, BLOCK, null, (error, count) => {
      if (error === null && count > 0) next();
      else closeSync(master);
    });
  next();
}
