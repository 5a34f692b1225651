/**
 * Steps that open the files again. Every wanted descriptor number is taken first (by a duplicate of the
 * image's own descriptor), so that nothing that is opened on the way gets a number that somebody waits
 * for. Facts: open(2), dup(2), fcntl(2), pipe(2), epoll_ctl(2), timerfd_create(2), inotify(7), pty(7).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { PAGE } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import type { StoredObject } from './contents.ts';
import { type Pairs, pairSteps } from './pairs.ts';
import { socketSteps } from './socket-steps.ts';
import { NR } from './system-calls.ts';

const F_SETFD = 2;
const F_SETLK = 6;
const F_SETOWN = 8;
const F_SETSIG = 10;
const F_ADD_SEALS = 1033;
const FD_CLOEXEC = 1;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const FIONBIO = 0x5421;
const FIOASYNC = 0x5452;
const TCSETS = 0x5402;
const TIOCSPTLCK = 0x4004_5431;
const TIOCGPTPEER = 0x5441;
const TIOCSWINSZ = 0x5414;
const TFD_IOC_SET_TICKS = 0x4008_5400;
const EPOLL_CTL_ADD = 1;
const EFD_SEMAPHORE = 1;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
/** An error of a system call is above this, seen as unsigned. */
const LARGEST_RESULT = 0xffff_ffff_ffff_f000n;
/** struct stat (x86-64): st_size at 48, st_mtim at 88. */
const STAT = { size: 144, st_size: 48, st_mtim: 88 } as const;
/** What F_GETFL tells and open(2) takes again. */
const REOPEN_FLAGS = ~(O.CREAT | O.EXCL | O.TRUNC | O.ASYNC);
/** sendfile(2) moves at most this much at once. */
const SENDFILE_LIMIT = 1 << 30;

/** A memory object that is a file of the process, a shared mapping, or both. */
export interface MemoryObject {
  readonly slot: Slot;
  readonly object: StoredObject | undefined;
}

const fdOf = (file: OpenFile): number => file.descriptors[0]?.fd ?? -1;

const describe = (file: OpenFile, noun: string): string =>
  `descriptor ${file.descriptors.map(({ fd }) => fd).join(', ')} (${noun})`;

/** All descriptors beyond 2 that the image needs. */
export const wantedDescriptors = (image: ProcessImage): number[] =>
  image.files.flatMap(file => file.descriptors.map(({ fd }) => fd)).filter(fd => fd > 2);

/** Opens everything; `self` is a descriptor of the image's own file above all wanted ones. */
export function fileSteps(
  program: RestoreProgram,
  image: ProcessImage,
  self: Slot,
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  for (const fd of wantedDescriptors(image)) program.syscall(`take descriptor ${fd}`, NR.dup2, [self, fd]);
  const pairs = pairSteps(program, image);
  for (const file of image.files) {
    openOne(program, file, pairs, objects);
    statusFlags(program, file);
    lockSteps(program, file);
  }
  ptySlaveSteps(program, image);
  for (const file of image.files) if (file.what.type === 'epoll') epollEntries(program, file, image);
}

function openOne(
  program: RestoreProgram,
  file: OpenFile,
  pairs: Pairs,
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  const { what } = file;
  switch (what.type) {
    case 'stdio':
      stdio(program, file, what);
      break;
    case 'controlling-terminal':
      controllingTerminal(program, file, what.like);
      break;
    case 'regular':
      regular(program, file, what);
      break;
    case 'path':
      place(program, file, open(program, file, what.path, `${what.noun} ${what.path}`));
      break;
    case 'memory':
      memoryFile(program, file, what, objects);
      break;
    case 'pipe':
    case 'socketpair':
      place(program, file, pairs.endOf(file));
      break;
    case 'hangup':
      place(program, file, pairs.hungUp(program, file));
      break;
    case 'eventfd':
      made(
        program,
        file,
        'eventfd',
        NR.eventfd2,
        [0, (what.semaphore ? EFD_SEMAPHORE : 0) | O.CLOEXEC],
        slot => eventCount(program, slot, what.count),
      );
      break;
    case 'timerfd':
      made(program, file, 'timerfd', NR.timerfd_create, [what.clock, O.CLOEXEC]);
      break;
    case 'signalfd': {
      const mask = new Uint8Array(8);
      viewOf(mask).setBigUint64(0, what.mask, true);
      made(program, file, 'signalfd', NR.signalfd4, [-1, program.data(mask), 8, O.CLOEXEC]);
      break;
    }
    case 'inotify':
      made(program, file, 'inotify', NR.inotify_init1, [O.CLOEXEC], slot => watches(program, slot, what));
      break;
    case 'epoll':
      made(program, file, 'epoll', NR.epoll_create1, [O.CLOEXEC]);
      break;
    case 'pty-master':
      ptyMaster(program, file, what);
      break;
    case 'pty-slave':
      break; // once all masters stand
    case 'socket':
      socketSteps(program, file, what, slot => place(program, file, slot));
  }
}

/** Moves an opened file to its descriptors. */
export function place(program: RestoreProgram, file: OpenFile, slot: Slot): void {
  for (const { fd, closeOnExec } of file.descriptors) {
    program.syscall(describe(file, `as ${fd}`), NR.dup3, [slot, fd, closeOnExec ? O.CLOEXEC : 0]);
  }
  program.syscall('close the copy', NR.close, [slot]);
}

function made(
  program: RestoreProgram,
  file: OpenFile,
  noun: string,
  nr: number,
  args: Parameters<RestoreProgram['syscall']>[2],
  configure?: (slot: Slot) => void,
): void {
  const slot = program.slot();
  program.syscall(describe(file, noun), nr, args, { into: slot });
  configure?.(slot);
  place(program, file, slot);
}

function open(program: RestoreProgram, file: OpenFile, path: string, noun: string): Slot {
  const slot = program.slot();
  const flags = (file.flags & REOPEN_FLAGS) | O.CLOEXEC | O.NOCTTY;
  program.syscall(`open ${describe(file, noun)}`, NR.open, [program.string(path), flags, 0], { into: slot });
  if (file.position !== 0) {
    program.syscall(`position of ${describe(file, noun)}`, NR.lseek, [slot, file.position, 0], {
      bestEffort: noun.startsWith('device'),
    });
  }
  return slot;
}

/** A file that is only read must be the same one: as long, and not changed since. */
function regular(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'regular' }): void {
  const slot = open(program, file, what.path, what.path);
  if (!what.writable) {
    const stat = program.data(new Uint8Array(STAT.size));
    const expected = new Uint8Array(24);
    const view = viewOf(expected);
    view.setBigUint64(0, BigInt(what.size), true);
    view.setBigInt64(8, what.mtime.seconds, true);
    view.setBigInt64(16, what.mtime.nanoseconds, true);
    const wanted = program.data(expected);
    program.syscall(`look at ${describe(file, what.path)}`, NR.fstat, [slot, stat]);
    const changed = `${describe(file, what.path)} is not the file that it was: its`;
    program.operation('COMPARE', `${changed} size differs`, [{ ...stat, offset: STAT.st_size }, wanted, 8]);
    program.operation('COMPARE', `${changed} time of change differs`, [
      { ...stat, offset: STAT.st_mtim },
      { ...wanted, offset: 8 },
      16,
    ]);
  }
  place(program, file, slot);
}

/**
 * Standard input, output and error stay as the caller gave them; what shared their terminal or file
 * shares the new one. A second description of a terminal is opened anew, so that its flags
 * (O_NONBLOCK) do not become those of the caller's shell.
 */
function stdio(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'stdio' }): void {
  if (what.termios !== undefined) {
    const termios = program.data(what.termios);
    program.syscall('terminal modes', NR.ioctl, [what.like, TCSETS, termios], { bestEffort: true });
  }
  const others = file.descriptors.filter(({ fd }) => fd > 2);
  for (const { fd, closeOnExec } of file.descriptors) {
    if (fd <= 2 && closeOnExec) {
      program.syscall('close on exec', NR.fcntl, [fd, F_SETFD, FD_CLOEXEC], { bestEffort: true });
    }
  }
  if (others.length === 0) return;
  const slot = program.slot();
  const duplicate = (): void => {
    for (const { fd, closeOnExec } of others) {
      program.syscall(
        `descriptor ${fd}, like ${what.like}`,
        NR.dup3,
        [what.like, fd, closeOnExec ? O.CLOEXEC : 0],
        {
          bestEffort: true,
        },
      );
    }
  };
  if (what.sameDescription) {
    duplicate();
    return;
  }
  const path = program.string(`/proc/self/fd/${what.like}`);
  const flags = (file.flags & REOPEN_FLAGS) | O.CLOEXEC | O.NOCTTY;
  program.syscall(`open the file of descriptor ${what.like}`, NR.open, [path, flags, 0], {
    bestEffort: true,
    into: slot,
  });
  program.when(
    'AT_MOST',
    'opened',
    [slot, LARGEST_RESULT],
    () => {
      for (const { fd, closeOnExec } of others) {
        program.syscall(`descriptor ${fd}, like ${what.like}`, NR.dup3, [
          slot,
          fd,
          closeOnExec ? O.CLOEXEC : 0,
        ]);
      }
      program.syscall('close the copy', NR.close, [slot]);
    },
    duplicate,
  );
}

/** /dev/tty where the new process has a controlling terminal, else its stdio. */
function controllingTerminal(program: RestoreProgram, file: OpenFile, like: 0 | 1 | 2): void {
  const slot = program.slot();
  const flags = (file.flags & REOPEN_FLAGS) | O.CLOEXEC | O.NOCTTY;
  program.syscall('open /dev/tty', NR.open, [program.string('/dev/tty'), flags, 0], {
    bestEffort: true,
    into: slot,
  });
  program.when(
    'AT_MOST',
    'opened',
    [slot, LARGEST_RESULT],
    () => place(program, file, slot),
    () => {
      for (const { fd, closeOnExec } of file.descriptors) {
        program.syscall(`descriptor ${fd}, like ${like}`, NR.dup3, [like, fd, closeOnExec ? O.CLOEXEC : 0], {
          bestEffort: true,
        });
      }
    },
  );
}

/** memfd objects, filled from the image; shared mappings use them too. */
export function memoryObjectSteps(
  program: RestoreProgram,
  name: string,
  object: StoredObject,
  self: Slot,
): Slot {
  const slot = program.slot();
  const noun = `memory of ${name}`;
  program.syscall(
    noun,
    NR.memfd_create,
    [program.string(name.slice(0, 200)), MFD_CLOEXEC | MFD_ALLOW_SEALING],
    {
      into: slot,
    },
  );
  program.syscall(`size of the ${noun}`, NR.ftruncate, [slot, object.size]);
  for (const run of object.runs) {
    const start = run.first * PAGE;
    const end = Math.min(object.size, start + run.count * PAGE);
    program.syscall(`position in the ${noun}`, NR.lseek, [slot, start, 0]);
    const position = new Uint8Array(8);
    viewOf(position).setBigUint64(0, BigInt(object.fileOffset + start), true);
    const ref = program.data(position);
    for (let at = start; at < end; at += SENDFILE_LIMIT) {
      program.syscall(`contents of the ${noun}`, NR.sendfile, [
        slot,
        self,
        ref,
        Math.min(SENDFILE_LIMIT, end - at),
      ]);
    }
  }
  return slot;
}

function memoryFile(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'memory' },
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  const object = objects.get(`${what.inode}`);
  if (object === undefined) return;
  program.syscall(`position of ${describe(file, what.name)}`, NR.lseek, [object.slot, file.position, 0]);
  if (what.seals !== 0) {
    program.syscall(`seals of ${describe(file, what.name)}`, NR.fcntl, [
      object.slot,
      F_ADD_SEALS,
      what.seals,
    ]);
  }
  place(program, file, object.slot);
}

/** The count is written, as eventfd2 takes only 32 bits of it. */
function eventCount(program: RestoreProgram, slot: Slot, count: bigint): void {
  if (count === 0n) return;
  const value = new Uint8Array(8);
  viewOf(value).setBigUint64(0, count, true);
  program.syscall('eventfd count', NR.write, [slot, program.data(value), 8]);
}

/**
 * Watch descriptors are numbered upwards from 1: a number that is not wanted is used up by a watch that
 * is removed again.
 */
function watches(program: RestoreProgram, slot: Slot, what: FileKind & { type: 'inotify' }): void {
  const last = what.watches.at(-1)?.wd ?? 0;
  for (let wd = 1; wd <= last; wd++) {
    const watch = what.watches.find(item => item.wd === wd);
    if (watch !== undefined) {
      program.syscall(`watch ${watch.path}`, NR.inotify_add_watch, [
        slot,
        program.string(watch.path),
        watch.mask,
      ]);
    } else {
      program.syscall('use up a watch', NR.inotify_add_watch, [slot, program.string('/proc'), 1]);
      program.syscall('remove the watch', NR.inotify_rm_watch, [slot, wd]);
    }
  }
}

function ptyMaster(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'pty-master' }): void {
  const slot = program.slot();
  const locked = new Uint8Array(4);
  locked[0] = what.locked ? 1 : 0;
  program.syscall(
    describe(file, 'terminal'),
    NR.open,
    [program.string('/dev/ptmx'), O.RDWR | O.NOCTTY | O.CLOEXEC, 0],
    {
      into: slot,
    },
  );
  program.syscall('lock of the terminal', NR.ioctl, [slot, TIOCSPTLCK, program.data(locked)]);
  program.syscall('modes of the terminal', NR.ioctl, [slot, TCSETS, program.data(what.termios)], {
    bestEffort: true,
  });
  program.syscall('size of the terminal', NR.ioctl, [slot, TIOCSWINSZ, program.data(what.windowSize)], {
    bestEffort: true,
  });
  place(program, file, slot);
}

/** Slaves of terminals whose master is in the image, once the masters stand. */
function ptySlaveSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const file of image.files) {
    const { what } = file;
    if (what.type !== 'pty-slave') continue;
    const master = image.files.find(other => other.what.type === 'pty-master' && other.what.id === what.id);
    if (master === undefined) continue;
    const slot = program.slot();
    program.syscall(
      describe(file, 'terminal'),
      NR.ioctl,
      [fdOf(master), TIOCGPTPEER, (file.flags & REOPEN_FLAGS) | O.NOCTTY | O.CLOEXEC],
      { into: slot },
    );
    place(program, file, slot);
    statusFlags(program, file);
  }
}

/** O_NONBLOCK and O_ASYNC, for the files whose descriptions are made anew and for stdio. */
function statusFlags(program: RestoreProgram, file: OpenFile): void {
  const on = new Uint8Array([1, 0, 0, 0]);
  const opened = file.what.type === 'regular' || file.what.type === 'path' || file.what.type === 'pty-slave';
  if ((file.flags & O.NONBLOCK) !== 0 && !opened) {
    program.syscall('non-blocking', NR.ioctl, [fdOf(file), FIONBIO, program.data(on)], { bestEffort: true });
  }
  if (file.signalOwner !== undefined) {
    const pid = program.slot();
    program.syscall('process id', NR.getpid, [], { into: pid });
    program.syscall('owner of signals', NR.fcntl, [fdOf(file), F_SETOWN, pid], { bestEffort: true });
    program.syscall('signal of the file', NR.fcntl, [fdOf(file), F_SETSIG, file.signalOwner.signal], {
      bestEffort: true,
    });
    program.syscall('signals for the file', NR.ioctl, [fdOf(file), FIOASYNC, program.data(on)], {
      bestEffort: true,
    });
  }
}

/** struct flock: l_type, l_whence, padding, l_start, l_len, l_pid. */
function lockSteps(program: RestoreProgram, file: OpenFile): void {
  for (const lock of file.locks) {
    const name = `lock on ${describe(file, 'file')}`;
    if (lock.type === 'flock') {
      program.syscall(name, NR.flock, [fdOf(file), (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB]);
      continue;
    }
    const flock = new Uint8Array(32);
    const view = viewOf(flock);
    view.setInt16(0, lock.exclusive ? 1 : 0, true);
    view.setBigInt64(8, BigInt(lock.start), true);
    view.setBigInt64(16, BigInt(lock.length), true);
    program.syscall(name, NR.fcntl, [fdOf(file), F_SETLK, program.data(flock)]);
  }
}

/** A watched descriptor that is stdio may be a file now, which epoll refuses (and which never blocks). */
function epollEntries(program: RestoreProgram, file: OpenFile, image: ProcessImage): void {
  if (file.what.type !== 'epoll') return;
  for (const { fd, events, data } of file.what.entries) {
    const target = image.files.find(other => other.descriptors.some(descriptor => descriptor.fd === fd));
    const event = new Uint8Array(12);
    const view = viewOf(event);
    view.setUint32(0, events, true);
    view.setBigUint64(4, data, true);
    program.syscall(
      `watch descriptor ${fd}`,
      NR.epoll_ctl,
      [fdOf(file), EPOLL_CTL_ADD, fd, program.data(event)],
      {
        bestEffort: target?.what.type === 'stdio' || target?.what.type === 'controlling-terminal',
      },
    );
  }
}

/** Timers start at the very end: what remained of them remains. */
export function timerSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const file of image.files) {
    const { what } = file;
    if (what.type !== 'timerfd') continue;
    program.syscall('timerfd', NR.timerfd_settime, [fdOf(file), 0, program.data(what.spec), 0]);
    if (what.ticks === 0n) continue;
    const ticks = new Uint8Array(8);
    viewOf(ticks).setBigUint64(0, what.ticks, true);
    program.syscall('timerfd ticks', NR.ioctl, [fdOf(file), TFD_IOC_SET_TICKS, program.data(ticks)], {
      bestEffort: true,
    });
  }
  for (const { which, value } of image.timers) {
    program.syscall('interval timer', NR.setitimer, [which, program.data(value), 0]);
  }
}
