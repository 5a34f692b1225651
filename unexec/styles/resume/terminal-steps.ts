/**
 * Steps for terminals of the process's own: masters first, then the slaves that are opened from them.
 * Facts: pty(7), ioctl_tty(2).
 *
 * @module
 */
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { describe, fdOf, place, reopenFlags } from './opening.ts';
import { AT_FDCWD, NR } from './system-calls.ts';

const TCSETS = 0x5402;
const TIOCSWINSZ = 0x5414;
const TIOCSPTLCK = 0x4004_5431;
const TIOCGPTPEER = 0x5441;

export function ptyMaster(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'pty-master' },
): void {
  const slot = program.slot();
  const locked = program.data(Uint8Array.of(what.locked ? 1 : 0, 0, 0, 0));
  const flags = O.RDWR | O.NOCTTY | O.CLOEXEC;
  program.syscall(describe(file, 'terminal'), NR.openat, [AT_FDCWD, program.string('/dev/ptmx'), flags, 0], {
    into: slot,
  });
  program.syscall('lock of the terminal', NR.ioctl, [slot, TIOCSPTLCK, locked]);
  program.syscall('modes of the terminal', NR.ioctl, [slot, TCSETS, program.data(what.termios)], {
    bestEffort: true,
  });
  program.syscall('size of the terminal', NR.ioctl, [slot, TIOCSWINSZ, program.data(what.windowSize)], {
    bestEffort: true,
  });
  place(program, file, slot);
}

/** The slave of a terminal whose master stands. */
export function ptySlave(program: RestoreProgram, file: OpenFile, image: ProcessImage): void {
  const { what } = file;
  if (what.type !== 'pty-slave') return;
  const master = image.files.find(other => other.what.type === 'pty-master' && other.what.id === what.id);
  if (master === undefined) return;
  const slot = program.slot();
  program.syscall(
    describe(file, 'terminal'),
    NR.ioctl,
    [fdOf(master), TIOCGPTPEER, reopenFlags(program.arch, file)],
    {
      into: slot,
    },
  );
  place(program, file, slot);
}
