/**
 * Steps for descriptors 0, 1 and 2 and for what shares their file or terminal: the new process's.
 *
 * @module
 */
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot } from '../../restorer/steps.ts';
import { fdOf, place, reopenFlags } from './opening.ts';
import { AT_FDCWD, NR } from './system-calls.ts';

const F_GETFD = 1;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const TCSETS = 0x5402;

/** Per descriptor 0, 1, 2: an error where the new process was started without it. */
export type Presence = readonly [Slot, Slot, Slot];

/**
 * Finds out which of 0, 1 and 2 are open. The others are taken meanwhile (by the image's own file), so
 * that nothing that is opened on the way gets their number.
 */
export function takeStdio(program: RestoreProgram, self: Slot): Presence {
  const presence = [program.slot(), program.slot(), program.slot()] as const;
  for (const [fd, slot] of presence.entries()) {
    program.syscall(`is descriptor ${fd} open`, NR.fcntl, [fd, F_GETFD, 0], { into: slot, bestEffort: true });
    program.unless('AT_MOST', `descriptor ${fd} is open`, [slot, LARGEST_RESULT], () => {
      program.syscall(`take descriptor ${fd}`, NR.dup3, [self, fd, 0]);
    });
  }
  return presence;
}

/** Closes again what the new process did not have, and what the program had closed. */
export function leaveStdio(program: RestoreProgram, image: ProcessImage, presence: Presence): void {
  for (const [fd, slot] of presence.entries()) {
    const file = image.files.find(({ descriptors }) => descriptors.some(item => item.fd === fd));
    if (file === undefined) {
      program.syscall(`close descriptor ${fd}, as the program had`, NR.close, [fd]);
    } else if (file.what.type === 'stdio') {
      program.unless('AT_MOST', `descriptor ${fd} is open`, [slot, LARGEST_RESULT], () => {
        program.syscall(`close descriptor ${fd}`, NR.close, [fd]);
      });
    }
  }
}

/**
 * Standard input, output and error stay as the caller gave them; what shared their terminal or file
 * shares the new one. A second description of a terminal is opened anew, so that its flags
 * (O_NONBLOCK) do not become those of the caller's shell.
 */
export function stdio(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'stdio' },
  presence: Presence,
): void {
  const others = { ...file, descriptors: file.descriptors.filter(({ fd }) => fd > 2) };
  if (others.descriptors.length === 0) return;
  const share = (): void => shareStdio(program, others, likeWhich(file, what), presence);
  if (what.sameDescription) {
    share();
    return;
  }
  openOr(program, others, `/proc/self/fd/${what.like}`, share, presence[what.like]);
}

/** The modes of a terminal, and what is closed on exec. */
export function stdioState(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'stdio' },
): void {
  if (what.termios !== undefined) {
    const termios = program.data(what.termios);
    program.syscall('terminal modes', NR.ioctl, [what.like, TCSETS, termios], { bestEffort: true });
  }
  for (const { fd, closeOnExec } of file.descriptors) {
    if (fd <= 2 && closeOnExec) {
      program.syscall('close on exec', NR.fcntl, [fd, F_SETFD, FD_CLOEXEC], { bestEffort: true });
    }
  }
}

/**
 * On a terminal, 0, 1 and 2 are often one description: nothing tells which of them a copy was made of.
 * Copies are mostly kept to write to (a saved stdout or stderr), so standard output stands in.
 */
const likeWhich = ({ descriptors }: OpenFile, { like }: FileKind & { type: 'stdio' }): 0 | 1 | 2 =>
  descriptors.some(({ fd }) => fd === 1) ? 1 : like;

/** /dev/tty where the new process has a controlling terminal, else its stdio. */
export function controllingTerminal(
  program: RestoreProgram,
  file: OpenFile,
  like: 0 | 1 | 2,
  presence: Presence,
): void {
  openOr(program, file, '/dev/tty', () => shareStdio(program, file, like, presence));
}

/** Opens a path for the file's descriptors; where that fails (or `needed` is an error), something else. */
function openOr(
  program: RestoreProgram,
  file: OpenFile,
  path: string,
  otherwise: () => void,
  needed?: Slot,
): void {
  const slot = program.slot();
  program.operation('SET', 'not opened', [0, 0, 1], { into: slot });
  const open = (): void => {
    program.syscall(
      `open ${path}`,
      NR.openat,
      [AT_FDCWD, program.string(path), reopenFlags(program.arch, file), 0],
      {
        bestEffort: true,
        into: slot,
      },
    );
  };
  if (needed === undefined) open();
  else program.when('AT_MOST', 'there is one', [needed, LARGEST_RESULT], open);
  program.when('AT_MOST', 'opened', [slot, LARGEST_RESULT], () => place(program, file, slot), otherwise);
}

/** Duplicates 0, 1 or 2; where the new process has none, the descriptors stay closed. */
function shareStdio(program: RestoreProgram, file: OpenFile, like: 0 | 1 | 2, presence: Presence): void {
  program.when(
    'AT_MOST',
    `descriptor ${like} is open`,
    [presence[like], LARGEST_RESULT],
    () => {
      for (const { fd, closeOnExec } of file.descriptors) {
        program.syscall(`descriptor ${fd}, like ${like}`, NR.dup3, [like, fd, closeOnExec ? O.CLOEXEC : 0]);
      }
    },
    () => {
      for (const { fd } of file.descriptors) program.syscall(`no descriptor ${fdOf(file)}`, NR.close, [fd]);
    },
  );
}
