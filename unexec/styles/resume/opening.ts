/**
 * What all steps that open files share: the flags, the names, and the way from an opened file to the
 * descriptors that are to have it.
 *
 * @module
 */
import type { Arch, OpenFile, ProcessImage } from '../../image.ts';
import { O, OPEN_FLAGS } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { AT_FDCWD, NR } from './system-calls.ts';

/** What F_GETFL tells and open(2) takes again. */
const REOPEN_FLAGS = ~(O.CREAT | O.EXCL | O.TRUNC | O.ASYNC | O.TMPFILE);

/** Flags for opening a file again, on the way to its descriptors. */
export function reopenFlags(arch: Arch, { flags, what }: OpenFile): number {
  // O_TMPFILE holds O_DIRECTORY.
  const directory = what.type === 'path' ? 0 : OPEN_FLAGS[arch].DIRECTORY;
  return (flags & REOPEN_FLAGS & ~directory) | O.CLOEXEC | O.NOCTTY;
}

/** The lowest descriptor of a file: the one by which messages name it. */
export const fdOf = (file: OpenFile): number => file.descriptors[0]?.fd ?? -1;

/** `descriptor 5, 7 (/tmp/x)` */
export const describe = (file: OpenFile, noun: string): string =>
  `descriptor ${file.descriptors.map(({ fd }) => fd).join(', ')} (${noun})`;

/** All descriptors beyond 2 that the image needs. */
export const wantedDescriptors = (image: ProcessImage): number[] =>
  image.files.flatMap(file => file.descriptors.map(({ fd }) => fd)).filter(fd => fd > 2);

/** Moves an opened file to its descriptors. */
export function place(program: RestoreProgram, file: OpenFile, slot: Slot): void {
  copyTo(program, file, slot);
  program.syscall('close the copy', NR.close, [slot]);
}

/** Gives an opened file to its descriptors, and keeps it. */
export function copyTo(program: RestoreProgram, file: OpenFile, slot: Slot): void {
  for (const { fd, closeOnExec } of file.descriptors) {
    program.syscall(describe(file, `as ${fd}`), NR.dup3, [slot, fd, closeOnExec ? O.CLOEXEC : 0]);
  }
}

/**
 * Opens once more what a slot has open, as the file wants it: with its access mode, its flags, and a
 * position of its own. The way to it leads through the number that the file gets in the end.
 */
export function openAgain(program: RestoreProgram, file: OpenFile, slot: Slot, noun: string): Slot {
  const again = program.slot();
  const fd = fdOf(file);
  program.syscall(describe(file, `as ${fd}`), NR.dup3, [slot, fd, O.CLOEXEC]);
  program.syscall(
    `open ${describe(file, noun)}`,
    NR.openat,
    [AT_FDCWD, program.string(`/proc/self/fd/${fd}`), reopenFlags(program.arch, file), 0],
    { into: again },
  );
  return again;
}

/** Puts a file at its position. */
export function seek(
  program: RestoreProgram,
  file: OpenFile,
  slot: Slot,
  noun: string,
  options: { readonly bestEffort?: boolean } = {},
): void {
  if (file.position === 0n) return;
  program.syscall(`position of ${describe(file, noun)}`, NR.lseek, [slot, file.position, 0], options);
}
