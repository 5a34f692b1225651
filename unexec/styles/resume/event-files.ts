/**
 * Steps for descriptors that are no files: eventfd, timerfd, signalfd, inotify, epoll.
 * Facts: eventfd(2), timerfd_create(2), signalfd(2), inotify(7), epoll_ctl(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot, type StepArgument } from '../../restorer/steps.ts';
import { describe, fdOf, place } from './opening.ts';
import { EPOLL_EVENT, NR, type SystemCall } from './system-calls.ts';

const EFD_SEMAPHORE = 1;
const TFD_IOC_SET_TICKS = 0x4008_5400;
const EPOLL_CTL_ADD = 1;
const IN_DELETE_SELF = 0x400;
/** Bytes of a struct inotify_event without a name. */
const INOTIFY_EVENT_SIZE = 16;
/** Nobody watches this, and it is not deleted: a watch of it uses up a number and reports nothing. */
const UNWATCHED = '/proc/self/fdinfo';

/** The count is written, as eventfd2 takes only 32 bits of it. */
export function eventfd(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'eventfd' }): void {
  const flags = (what.semaphore ? EFD_SEMAPHORE : 0) | O.CLOEXEC;
  const slot = made(program, file, 'eventfd', NR.eventfd2, [0, flags]);
  if (what.count !== 0n) {
    program.syscall('eventfd count', NR.write, [slot, program.data(word(what.count)), 8]);
  }
  place(program, file, slot);
}

/** Set at the very end (`timers.ts`). */
export function timerfd(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'timerfd' }): void {
  place(program, file, made(program, file, 'timerfd', NR.timerfd_create, [what.clock, O.CLOEXEC]));
}

export function signalfd(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'signalfd' },
): void {
  const mask = program.data(word(what.mask));
  place(program, file, made(program, file, 'signalfd', NR.signalfd4, [-1, mask, 8, O.CLOEXEC]));
}

/** Entries are added once everything is open (`epollEntries`). */
export function epoll(program: RestoreProgram, file: OpenFile): void {
  place(program, file, made(program, file, 'epoll', NR.epoll_create1, [O.CLOEXEC]));
}

/**
 * Watch descriptors are numbered upwards from 1: a number that is not wanted is used up by a watch that
 * is removed again, and the report of its removal (IN_IGNORED) is read away.
 */
export function inotify(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'inotify' }): void {
  const slot = made(program, file, 'inotify', NR.inotify_init1, [O.CLOEXEC]);
  const last = what.watches.at(-1)?.wd ?? 0;
  for (let wd = 1; wd <= last; wd++) {
    const watch = what.watches.find(item => item.wd === wd);
    if (watch !== undefined) {
      const path = program.string(watch.path);
      program.syscall(`watch ${watch.path}`, NR.inotify_add_watch, [slot, path, watch.mask]);
    } else {
      const path = program.string(UNWATCHED);
      const event = program.writable(new Uint8Array(INOTIFY_EVENT_SIZE));
      program.syscall('use up a watch', NR.inotify_add_watch, [slot, path, IN_DELETE_SELF]);
      program.syscall('remove the watch', NR.inotify_rm_watch, [slot, wd]);
      program.syscall('the end of the watch', NR.read, [slot, event, INOTIFY_EVENT_SIZE]);
    }
  }
  place(program, file, slot);
}

function made(
  program: RestoreProgram,
  file: OpenFile,
  noun: string,
  nr: SystemCall,
  args: readonly StepArgument[],
): Slot {
  const slot = program.slot();
  program.syscall(describe(file, noun), nr, args, { into: slot });
  return slot;
}

/** A watched descriptor that is stdio may be a file now, which epoll refuses (and which never blocks). */
export function epollEntries(program: RestoreProgram, file: OpenFile, image: ProcessImage): void {
  if (file.what.type !== 'epoll') return;
  for (const { fd, events, data } of file.what.entries) {
    const target = image.files.find(other => other.descriptors.some(descriptor => descriptor.fd === fd));
    const fields = EPOLL_EVENT[program.arch];
    const event = new Uint8Array(fields.size);
    const view = viewOf(event);
    view.setUint32(fields.events, events, true);
    view.setBigUint64(fields.data, data, true);
    program.syscall(
      `watch descriptor ${fd} by ${describe(file, 'epoll')}`,
      NR.epoll_ctl,
      [fdOf(file), EPOLL_CTL_ADD, fd, program.data(event)],
      { bestEffort: target?.what.type === 'stdio' || target?.what.type === 'controlling-terminal' },
    );
  }
}

/** Timers start at the very end: what remained of them remains. */
export function timerSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const file of image.files) {
    const { what } = file;
    if (what.type !== 'timerfd') continue;
    const fd = fdOf(file);
    program.syscall('timerfd', NR.timerfd_settime, [fd, what.settime, program.data(what.spec), 0]);
    if (what.ticks !== 0n) unreadTicks(program, fd, what.spec, what.ticks);
  }
  for (const { which, value } of image.timers) {
    program.syscall('interval timer', NR.setitimer, [which, program.data(value), 0]);
  }
}

/** A kernel without CONFIG_CHECKPOINT_RESTORE lets the timer go off now, once, instead. */
function unreadTicks(program: RestoreProgram, fd: number, spec: Uint8Array, ticks: bigint): void {
  const result = program.slot();
  program.syscall('timerfd ticks', NR.ioctl, [fd, TFD_IOC_SET_TICKS, program.data(word(ticks))], {
    bestEffort: true,
    into: result,
  });
  const soon = spec.slice();
  viewOf(soon).setBigInt64(16, 0n, true);
  viewOf(soon).setBigInt64(24, 1n, true);
  program.unless('AT_MOST', 'ticks set', [result, LARGEST_RESULT], () => {
    program.syscall('timerfd goes off', NR.timerfd_settime, [fd, 0, program.data(soon), 0]);
  });
}

function word(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  return bytes;
}
