/**
 * LC_NOTE: a name and a stretch of the file that means something to who knows the name. Cores say with them
 * what was loaded where. `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import type { Contents } from '../contents.ts';
import { toNumber } from '../errors.ts';
import { fields, newCommand } from './commands.ts';
import { LC } from './constants.ts';
import { atOffset, findCommands } from './find.ts';
import type { MachOFile, OtherCommand } from './model.ts';
import { decodeName, encodeName } from './names.ts';
import { note_command } from './structs.ts';

export interface MachONote {
  /** `addrable bits`, `main bin spec`, … */
  readonly owner: string;
  /** Where its bytes are in the file. */
  readonly offset: number;
  readonly size: number;
}

/** All notes of a file, in order. */
export const readNotes = (file: MachOFile): MachONote[] =>
  findCommands(file, LC.LC_NOTE).map(command => {
    const { data_owner, offset, size } = fields(command, note_command);
    return {
      // What follows a NUL is no part of it.
      owner: decodeName(data_owner).split('\0', 1)[0] ?? '',
      offset: toNumber('Mach-O: offset of an LC_NOTE', offset),
      size: toNumber('Mach-O: size of an LC_NOTE', size),
    };
  });

/**
 * What a note points at, not read.
 *
 * @throws FormatError `MACHO_EXTERNAL` where the file does not hold it
 */
export const noteContents = (file: MachOFile, { offset, size }: MachONote): Contents =>
  atOffset(file, offset, size);

/** An LC_NOTE for bytes that are, or will be, at `offset`. */
export const noteCommand = ({ owner, offset, size }: MachONote): OtherCommand =>
  newCommand(LC.LC_NOTE, note_command, {
    data_owner: encodeName(owner),
    offset: BigInt(offset),
    size: BigInt(size),
  });

/** Adds an LC_NOTE behind all other commands: 40 bytes of the header. */
export function addNote(file: MachOFile, note: MachONote): void {
  file.commands.push(noteCommand(note));
}
