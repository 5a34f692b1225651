/**
 * The caller's terminal, put back as it was before a program was frozen on it: a line editor that is
 * killed in the middle of a line leaves raw mode behind, and a shell with job control has given the
 * terminal to a process group that is no more. Facts: ioctl_tty(2), tcsetpgrp(3).
 *
 * @module
 */
import { ioctl, syscall } from './libc.ts';

const TCGETS = 0x5401;
const TCSETS = 0x5402;
const TIOCGPGRP = 0x540f;
const TIOCSPGRP = 0x5410;
/** struct termios of the kernel; pid_t. */
const SIZES = { termios: 36, group: 4 } as const;
const SIG_BLOCK = 0;
const SIG_SETMASK = 2;
/** Bit of SIGTTOU (22) in a signal set: blocked, a process in the background may set these. */
const SIGTTOU_SET = 1n << 21n;

/** Remembers modes and foreground process group of the first terminal among these descriptors. */
export function rememberTerminal(descriptors: readonly number[]): () => void {
  for (const fd of descriptors) {
    const termios = new Uint8Array(SIZES.termios);
    if (ioctl(fd, TCGETS, termios) < 0) continue;
    const group = new Uint8Array(SIZES.group);
    const isOurs = ioctl(fd, TIOCGPGRP, group) >= 0; // else: not our controlling terminal
    return () => putBack(fd, termios, isOurs ? group : undefined);
  }
  return () => {};
}

function putBack(fd: number, termios: Uint8Array, group: Uint8Array | undefined): void {
  const set = new Uint8Array(8);
  const before = new Uint8Array(8);
  new DataView(set.buffer).setBigUint64(0, SIGTTOU_SET, true);
  syscall('rt_sigprocmask', SIG_BLOCK, set, before, 8);
  // A group that has ended meanwhile (ESRCH), or a terminal that was closed (EIO): nothing to put back.
  if (group !== undefined) ioctl(fd, TIOCSPGRP, group);
  ioctl(fd, TCSETS, termios);
  syscall('rt_sigprocmask', SIG_SETMASK, before, 0, 8);
}
