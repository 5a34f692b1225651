/**
 * Character devices: terminals of the process's own (a pty with its master inside), the controlling
 * terminal, and the devices without state such as /dev/null. Facts: pty(7), ioctl_tty(2), termios(3),
 * Documentation/admin-guide/devices.txt.
 *
 * @module
 */
import type { FileKind } from '../image.ts';
import type { Context } from './descriptors.ts';
import { majorOf, minorOf } from './device-number.ts';
import { type HeldFile, infoOf } from './held-file.ts';
import { ioctl } from './libc.ts';
import { openedByPath } from './path-files.ts';
import { unreadBytes } from './pipes.ts';
import { refuse } from './refusal.ts';

const TCGETS = 0x5401;
const TIOCGWINSZ = 0x5413;
const TIOCGPTLCK = 0x8004_5439;
const TERMIOS_SIZE = 36;
/** Major of mem(4) devices: /dev/null, zero, full, random, urandom. */
const MEM_MAJOR = 1n;
const TTY_DEVICE = (5n << 8n) | 0n;
const UNIX98_SLAVE_MAJORS = [136n, 143n] as const;

export function characterDevice(file: HeldFile, context: Context): FileKind {
  const { rdev } = file.stat;
  if (rdev === TTY_DEVICE) return { type: 'controlling-terminal', like: terminalOfStdio(context) };
  if (majorOf(rdev) === MEM_MAJOR) return openedByPath(file, context, 'device');
  if (infoOf(file, 'tty-index') !== undefined) return ptyMaster(file);
  if (masterOf(file, context.files) !== undefined) return ptySlave(file);
  if (terminalModes(file) !== undefined) {
    return refuse(file, 'FD_FOREIGN_TERMINAL', 'a terminal other than that of its descriptors 0 to 2');
  }
  return refuse(file, 'FD_DEVICE', 'a device whose state cannot be kept');
}

/** Which of 0, 1, 2 stands in where the second life has no controlling terminal. */
function terminalOfStdio({ files }: Context): 0 | 1 | 2 {
  const isTerminal = (fd: number): boolean =>
    files.some(file => file.descriptors.some(item => item.fd === fd) && terminalModes(file) !== undefined);
  return ([0, 1, 2] as const).find(isTerminal) ?? 0;
}

/** `struct termios` of the kernel; undefined where it is no terminal. */
export function terminalModes(file: HeldFile): Uint8Array | undefined {
  const termios = new Uint8Array(TERMIOS_SIZE);
  return ioctl(file.own, TCGETS, termios) < 0 ? undefined : termios;
}

/** Of the slave of a terminal: its master in the process. */
export function masterOf(file: HeldFile, files: readonly HeldFile[]): HeldFile | undefined {
  const id = slaveNumber(file);
  return id === undefined ? undefined : files.find(other => infoOf(other, 'tty-index') === String(id));
}

function slaveNumber({ stat: { rdev } }: HeldFile): number | undefined {
  const major = majorOf(rdev);
  if (major < UNIX98_SLAVE_MAJORS[0] || major > UNIX98_SLAVE_MAJORS[1]) return undefined;
  return Number(minorOf(rdev) + (major - UNIX98_SLAVE_MAJORS[0]) * 256n);
}

function ptyMaster(file: HeldFile): FileKind {
  const windowSize = new Uint8Array(8);
  const locked = new Uint8Array(4);
  ioctl(file.own, TIOCGWINSZ, windowSize);
  ioctl(file.own, TIOCGPTLCK, locked);
  if (unreadBytes(file) > 0) {
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

function ptySlave(file: HeldFile): FileKind {
  if (unreadBytes(file) > 0) {
    refuse(file, 'FD_PTY_DATA', 'a terminal with input that nobody has read yet');
  }
  return { type: 'pty-slave', id: slaveNumber(file) ?? -1 };
}
