/** Load commands as bytes and fields, and taking them in and out. */
import test from 'ava';
import {
  commandString,
  dylinker_command,
  entry_point_command,
  FormatError,
  fields,
  findCommand,
  findCommands,
  insertSegment,
  LC,
  type MachOFile,
  newCommand,
  newSegment,
  type OtherCommand,
  removeCommand,
  replaceCommand,
  segmentsOf,
  source_version_command,
  uuid_command,
  withFields,
} from '../../../formats/macho/index.ts';
import { tiny } from './support/tiny.ts';

function command(file: MachOFile, cmd: number): OtherCommand {
  const found = findCommand(file, cmd);
  if (!found) throw new Error('no such command');
  return found;
}

test('fields() and withFields() read and change a command by its struct', t => {
  const main = command(tiny(), LC.LC_MAIN);
  t.like(fields(main, entry_point_command), { cmd: LC.LC_MAIN, cmdsize: 24, entryoff: 0xff0n });
  const changed = withFields(main, entry_point_command, { entryoff: 0x1234n });
  t.is(fields(changed, entry_point_command).entryoff, 0x1234n);
  t.is(fields(changed, entry_point_command).stacksize, 0n);
  // The first one stays as it is.
  t.is(fields(main, entry_point_command).entryoff, 0xff0n);
});

test('fields() refuses a command that is shorter than its struct', t => {
  const short = newCommand(LC.LC_MAIN, source_version_command, { version: 1n });
  t.throws(() => fields(short, entry_point_command), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_COMMAND',
    message: /cmdsize of LC_MAIN is 0x10, expected at least 0x18/,
  });
});

test('newCommand() fills a command to a multiple of eight bytes', t => {
  const path = new TextEncoder().encode('/usr/lib/dyld\0');
  const made = newCommand(LC.LC_LOAD_DYLINKER, dylinker_command, { name: 12 }, path);
  t.is(made.bytes.length, 32);
  t.like(fields(made, dylinker_command), { cmd: LC.LC_LOAD_DYLINKER, cmdsize: 32, name: 12 });
  t.is(commandString(made, 12), '/usr/lib/dyld');
});

test('commandString() ends with the command, and refuses to begin behind it', t => {
  const made = newCommand(LC.LC_LOAD_DYLINKER, dylinker_command, { name: 12 }, Uint8Array.of(65, 66, 67, 68));
  t.is(commandString(made, 12), 'ABCD');
  t.is(commandString(made, 16), '');
  t.throws(() => commandString(made, 17), { instanceOf: FormatError, code: 'MACHO_BAD_COMMAND' });
});

test('commands are found by kind, in order', t => {
  const file = tiny();
  t.is(findCommand(file, LC.LC_RPATH), undefined);
  t.deepEqual(
    findCommands(file, LC.LC_MAIN, LC.LC_UUID).map(({ cmd }) => cmd),
    [LC.LC_UUID, LC.LC_MAIN],
  );
});

test('insertSegment() puts a segment before another, and refuses where that is not', t => {
  const file = tiny();
  insertSegment(file, '__LINKEDIT', newSegment({ segname: '__NEW' }));
  t.deepEqual(
    segmentsOf(file).map(({ segname }) => segname),
    ['__PAGEZERO', '__TEXT', '__DATA', '__NEW', '__LINKEDIT'],
  );
  t.throws(() => insertSegment(file, '__OTHER', newSegment({ segname: '__NEW' })), {
    instanceOf: FormatError,
    code: 'MACHO_NO_SEGMENT',
  });
});

test('replaceCommand() and removeCommand() change one command only', t => {
  const file = tiny();
  const uuid = command(file, LC.LC_UUID);
  const other = withFields(uuid, uuid_command, { uuid: new Uint8Array(16) });
  const before = file.commands.indexOf(uuid);
  replaceCommand(file, uuid, other);
  t.is(file.commands.indexOf(other), before);
  t.is(file.commands.length, 10);
  removeCommand(file, other);
  t.is(file.commands.length, 9);
  t.is(findCommand(file, LC.LC_UUID), undefined);
});
