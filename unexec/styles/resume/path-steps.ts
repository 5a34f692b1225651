/**
 * Steps that open files by their path: regular files, directories, devices.
 *
 * @module
 */
import type { FileKind, OpenFile } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { describe, place, reopenFlags, seek } from './opening.ts';
import { AT_FDCWD, NR, STAT } from './system-calls.ts';
import { requireUnchanged } from './unchanged-file.ts';

/** A file that is only read must be the same one: as long, and not changed since. */
export function regularFile(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'regular' },
): void {
  const slot = open(program, file, what.path, what.path);
  if (!what.writable) {
    const stat = program.writable(new Uint8Array(STAT[program.arch].size));
    program.syscall(`look at ${describe(file, what.path)}`, NR.fstat, [slot, stat]);
    requireUnchanged(program, stat, describe(file, what.path), what);
  }
  seek(program, file, slot, what.path);
  place(program, file, slot);
}

/** A directory or device. */
export function openPath(program: RestoreProgram, file: OpenFile, what: FileKind & { type: 'path' }): void {
  const noun = `${what.noun} ${what.path}`;
  const slot = open(program, file, what.path, noun);
  seek(program, file, slot, noun, { bestEffort: what.noun === 'device' });
  place(program, file, slot);
}

function open(program: RestoreProgram, file: OpenFile, path: string, noun: string): Slot {
  const slot = program.slot();
  program.syscall(
    `open ${describe(file, noun)}`,
    NR.openat,
    [AT_FDCWD, program.string(path), reopenFlags(program.arch, file), 0],
    {
      into: slot,
    },
  );
  return slot;
}
