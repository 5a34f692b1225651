/**
 * Steps for what belongs to an open file beyond what it is: O_NONBLOCK, O_ASYNC with its owner, locks.
 * Facts: fcntl(2), flock(2), ioctl_fionbio(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileLock, OpenFile } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { describe, fdOf } from './opening.ts';
import { NR } from './system-calls.ts';

const F_SETLK = 6;
const F_SETOWN = 8;
const F_SETSIG = 10;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const FIONBIO = 0x5421;
const FIOASYNC = 0x5452;

/** Kinds whose open(2) has taken O_NONBLOCK already. */
const OPENED: ReadonlySet<string> = new Set(['regular', 'path', 'memory', 'pty-slave']);

export function statusFlags(program: RestoreProgram, file: OpenFile): void {
  const fd = fdOf(file);
  if ((file.flags & O.NONBLOCK) !== 0 && !OPENED.has(file.what.type)) {
    program.syscall('non-blocking', NR.ioctl, [fd, FIONBIO, on(program)], { bestEffort: true });
  }
  if (file.signalOwner !== undefined) {
    const pid = program.slot();
    const { signal } = file.signalOwner;
    program.syscall('process id', NR.getpid, [], { into: pid });
    program.syscall('owner of signals', NR.fcntl, [fd, F_SETOWN, pid], { bestEffort: true });
    program.syscall('signal of the file', NR.fcntl, [fd, F_SETSIG, signal], { bestEffort: true });
  }
  if ((file.flags & O.ASYNC) !== 0) {
    program.syscall('signals for the file', NR.ioctl, [fd, FIOASYNC, on(program)], { bestEffort: true });
  }
}

const on = (program: RestoreProgram) => program.data(Uint8Array.of(1, 0, 0, 0));

/** Locks are had again at once or not at all; those on stdio, which is another file now, where they can be. */
export function lockSteps(program: RestoreProgram, file: OpenFile): void {
  const { what } = file;
  const options = { bestEffort: what.type === 'stdio' };
  for (const lock of file.locks) {
    const name = `lock on ${describe(file, what.type === 'regular' ? what.path : 'file')}`;
    if (lock.type === 'flock') {
      const operation = (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
      program.syscall(name, NR.flock, [fdOf(file), operation], options);
    } else {
      const command = lock.type === 'ofd' ? F_OFD_SETLK : F_SETLK;
      program.syscall(name, NR.fcntl, [fdOf(file), command, program.data(flock(lock))], options);
    }
  }
}

/** struct flock: l_type, l_whence, padding, l_start, l_len, l_pid. */
function flock(lock: FileLock): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = viewOf(bytes);
  view.setInt16(0, lock.exclusive ? F_WRLCK : F_RDLCK, true);
  view.setBigInt64(8, BigInt(lock.start), true);
  view.setBigInt64(16, BigInt(lock.length), true);
  return bytes;
}
