/**
 * Load commands: the fields of those that the model keeps as bytes, and taking commands in and out of a
 * file. `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { nameOf } from '../names.ts';
import { type FieldValues, type Struct, viewOf } from '../struct.ts';
import { LC } from './constants.ts';
import {
  isSegment,
  type LoadCommand,
  type MachOFile,
  type OtherCommand,
  type SegmentCommand,
} from './model.ts';
import { LE } from './structs.ts';

/**
 * The fields of a command, by its struct.
 *
 * @throws FormatError `MACHO_BAD_COMMAND` where the command is shorter
 */
export function fields<F>(command: OtherCommand, of: Struct<F>): FieldValues<F> {
  if (command.bytes.length >= of.size) return of.read(viewOf(command.bytes), 0, LE);
  throw new FormatError(
    'MACHO_BAD_COMMAND',
    `Mach-O: cmdsize of ${nameOf(LC, command.cmd)} is ${hex(command.bytes.length)}, expected at least ${hex(of.size)}`,
    { value: command.bytes.length },
  );
}

/** Fields but for the two that every command has, and that say what it is. */
type Changeable<F> = Partial<Omit<FieldValues<F>, 'cmd' | 'cmdsize'>>;

/** The same command with other values in these fields. */
export function withFields<F>(command: OtherCommand, of: Struct<F>, changes: Changeable<F>): OtherCommand {
  const bytes = command.bytes.slice();
  of.write(viewOf(bytes), 0, { ...fields(command, of), ...changes }, LE);
  return { cmd: command.cmd, bytes };
}

/**
 * A command made of a struct, `tail` after it, filled with zeros to a multiple of 8 bytes.
 *
 * @param cmd LC_*
 */
export function newCommand<F>(
  cmd: number,
  of: Struct<F>,
  values: Omit<FieldValues<F>, 'cmd' | 'cmdsize'>,
  tail: Uint8Array = new Uint8Array(0),
): OtherCommand {
  const cmdsize = Math.ceil((of.size + tail.length) / 8) * 8;
  const bytes = new Uint8Array(cmdsize);
  // What Omit took away is put back here, which the compiler cannot see through a type parameter.
  of.write(viewOf(bytes), 0, { ...values, cmd, cmdsize } as unknown as FieldValues<F>, LE);
  bytes.set(tail, of.size);
  return { cmd, bytes };
}

/**
 * A string within a command (`union lc_str`): from `offset` to the next NUL, or to the command's end.
 *
 * @throws FormatError `MACHO_BAD_COMMAND` where `offset` is not within the command
 */
export function commandString({ cmd, bytes }: OtherCommand, offset: number): string {
  if (offset > bytes.length) {
    throw new FormatError(
      'MACHO_BAD_COMMAND',
      `Mach-O: a string of ${nameOf(LC, cmd)} is at ${hex(offset)}, expected it within the command's ${hex(bytes.length)} bytes`,
      { value: offset },
    );
  }
  const end = bytes.indexOf(0, offset);
  return new TextDecoder().decode(bytes.subarray(offset, end < 0 ? bytes.length : end));
}

/**
 * Puts a segment before another one, so that the index of no segment below that changes. Where its bytes go
 * in the file is the caller's to say, and to make room for: `relayLinkedit`.
 *
 * @throws FormatError `MACHO_NO_SEGMENT`
 */
export function insertSegment(file: MachOFile, before: string, segment: SegmentCommand): void {
  const at = file.commands.findIndex(command => isSegment(command) && command.segname === before);
  if (at < 0) {
    const message = `Mach-O: the file has no segment ${JSON.stringify(before)}, expected one to insert ${JSON.stringify(segment.segname)} before`;
    throw new FormatError('MACHO_NO_SEGMENT', message, { value: before });
  }
  file.commands.splice(at, 0, segment);
}

/** Puts another command in the place of one. */
export function replaceCommand(file: MachOFile, old: LoadCommand, command: LoadCommand): void {
  file.commands = file.commands.map(present => (present === old ? command : present));
}

/** Takes a command out; what it describes in __LINKEDIT has to be taken out as well (`removeBlob`). */
export function removeCommand(file: MachOFile, command: LoadCommand): void {
  file.commands = file.commands.filter(present => present !== command);
}
