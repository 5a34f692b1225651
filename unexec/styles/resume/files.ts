/**
 * Steps that open the files again. Every wanted descriptor number is taken first (by a duplicate of the
 * image's own descriptor), so that nothing that is opened on the way gets a number that somebody waits
 * for. Each kind of file has its steps elsewhere.
 *
 * @module
 */
import type { OpenFile, ProcessImage } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { epoll, epollEntries, eventfd, inotify, signalfd, timerfd } from './event-files.ts';
import { lockSteps, statusFlags } from './file-flags.ts';
import { finishObjects, type MemoryObject, memoryFile } from './memory-files.ts';
import { place, wantedDescriptors } from './opening.ts';
import { type Pairs, pairSteps } from './pairs.ts';
import { openPath, regularFile } from './path-steps.ts';
import { socketSteps } from './socket-steps.ts';
import { controllingTerminal, leaveStdio, type Presence, stdio, stdioState, takeStdio } from './stdio.ts';
import { NR } from './system-calls.ts';
import { ptyMaster, ptySlave } from './terminal-steps.ts';

/** Takes every number; `self` is a descriptor of the image's own file above all of them. */
export function takeDescriptors(program: RestoreProgram, image: ProcessImage, self: Slot): Presence {
  for (const fd of wantedDescriptors(image)) program.syscall(`take descriptor ${fd}`, NR.dup3, [self, fd, 0]);
  return takeStdio(program, self);
}

/** Opens everything, at the numbers that were taken. */
export function fileSteps(
  program: RestoreProgram,
  image: ProcessImage,
  objects: ReadonlyMap<string, MemoryObject>,
  presence: Presence,
): void {
  const pairs = pairSteps(program, image);
  // What is opened from another file comes after all those: slaves of terminals.
  const isLate = ({ what }: OpenFile): boolean => what.type === 'pty-slave';
  for (const file of [...image.files.filter(file => !isLate(file)), ...image.files.filter(isLate)]) {
    openOne(program, file, image, pairs, objects, presence);
    if (file.what.type !== 'stdio') ownState(program, file);
  }
  pairs.finish(program);
  finishObjects(program, image, objects);
  for (const file of image.files) epollEntries(program, file, image);
  leaveStdio(program, image, presence);
}

/** What is set on the caller's own stdin, stdout, stderr and terminal: to come when nothing of it is in vain. */
export function stdioSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const file of image.files) {
    if (file.what.type !== 'stdio') continue;
    stdioState(program, file, file.what);
    ownState(program, file);
  }
}

function ownState(program: RestoreProgram, file: OpenFile): void {
  statusFlags(program, file);
  lockSteps(program, file);
}

function openOne(
  program: RestoreProgram,
  file: OpenFile,
  image: ProcessImage,
  pairs: Pairs,
  objects: ReadonlyMap<string, MemoryObject>,
  presence: Presence,
): void {
  const { what } = file;
  switch (what.type) {
    case 'stdio':
      stdio(program, file, what, presence);
      break;
    case 'controlling-terminal':
      controllingTerminal(program, file, what.like, presence);
      break;
    case 'regular':
      regularFile(program, file, what);
      break;
    case 'path':
      openPath(program, file, what);
      break;
    case 'memory':
      memoryFile(program, file, what, objects);
      break;
    case 'pipe':
    case 'socketpair':
      pairs.place(program, file);
      break;
    case 'hangup':
      place(program, file, pairs.hungUp(program, file));
      break;
    case 'eventfd':
      eventfd(program, file, what);
      break;
    case 'timerfd':
      timerfd(program, file, what);
      break;
    case 'signalfd':
      signalfd(program, file, what);
      break;
    case 'inotify':
      inotify(program, file, what);
      break;
    case 'epoll':
      epoll(program, file);
      break;
    case 'pty-master':
      ptyMaster(program, file, what);
      break;
    case 'pty-slave':
      ptySlave(program, file, image);
      break;
    case 'socket':
      socketSteps(program, file, what);
  }
}
