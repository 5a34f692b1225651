/** How many bytes of load commands still fit. */
import test from 'ava';
import {
  findCommand,
  findSegment,
  headerRoom,
  LC,
  layoutMachO,
  machoBytes,
  newCommand,
  newMachO,
  readMachO,
  removeCommand,
  uuid_command,
} from '../../../formats/macho/index.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, linked, output } from './support/tools.ts';

const uuid = newCommand(LC.LC_UUID, uuid_command, { uuid: new Uint8Array(16) });

test('headerRoom() is what lies between the commands and the first section', t => {
  for (const file of [tiny(), readMachO(machoBytes(tiny()))]) {
    const before = headerRoom(file);
    t.is(before, 0xff0 - 32 - layoutMachO(file).header.sizeofcmds);
    file.commands.push(uuid);
    t.is(headerRoom(file), before - 24);
    removeCommand(file, uuid);
    t.is(headerRoom(file), before);
  }
});

test('headerRoom() can be filled to the last byte, and not beyond', t => {
  const file = readMachO(machoBytes(tiny()));
  const room = headerRoom(file);
  for (let i = 0; i < Math.floor(room / 24); i++) file.commands.push(uuid);
  t.is(headerRoom(file), room % 24);
  t.notThrows(() => layoutMachO(file));
  file.commands.push(uuid);
  t.is(headerRoom(file), 0);
  t.throws(() => layoutMachO(file), { code: 'MACHO_NO_HEADER_ROOM' });
});

test('headerRoom() counts commands that were taken out, though their bytes are still there', t => {
  const file = readMachO(machoBytes(tiny()));
  const before = headerRoom(file);
  const command = findCommand(file, LC.LC_UUID);
  if (command) removeCommand(file, command);
  t.is(headerRoom(file), before + 24);
});

test('headerRoom() ends where a program hides something', t => {
  const bytes = machoBytes(tiny());
  bytes[0xf00] = 1;
  const file = readMachO(bytes);
  t.is(headerRoom(file), 0xf00 - 32 - file.header.sizeofcmds);
});

test('headerRoom() of a linked program is what the linker was asked for', t => {
  for (const arch of ['x86_64', 'arm64'] as const) {
    const room = (headerpad?: number): number =>
      headerRoom(readMachO(bytesOf(linked({ arch, fixups: 'chained', ...(headerpad && { headerpad }) }))));
    t.true(room() >= 32 && room() < 64, `${room()}`);
    t.true(room(0x1000) >= 0x1000 && room(0x1000) < 0x1020);
  }
});

test('headerRoom() agrees with llvm-objdump about where the first section is', t => {
  const path = linked({ arch: 'arm64', fixups: 'dyld-info' });
  const file = readMachO(bytesOf(path));
  const offset = /^ +offset (\d+)$/m.exec(
    output('llvm-objdump-19', '--macho', '--private-headers', path),
  )?.[1];
  t.is(headerRoom(file), Number(offset) - 32 - file.header.sizeofcmds);
});

test('headerRoom() is endless where nothing follows the header', t => {
  t.is(headerRoom(newMachO({ cputype: 0x0100_0007, filetype: 4 })), Number.POSITIVE_INFINITY);
  const file = tiny();
  const text = findSegment(file, '__TEXT');
  if (text) text.sections = [];
  t.is(headerRoom(file), 0xff0 - 32 - layoutMachO(file).header.sizeofcmds);
});
