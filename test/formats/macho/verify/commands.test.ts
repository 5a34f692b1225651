import { LC, MH } from '../../../../formats/macho/constants.ts';
import {
  command32,
  type Edit,
  header32,
  replaced,
  sdk,
  testBreakages,
  testSound,
} from '../support/verify.ts';

const FILETYPE = 12;
const FLAGS = 24;

/** Puts other text at the place of a command's string. */
const named =
  (cmd: number, at: number, text: string): Edit =>
  file =>
    file.bytes.set(new TextEncoder().encode(text), file.command(cmd) + at);

testBreakages([
  ['a filetype that is none', 'error', 'MACHO_FILETYPE', 'info', header32(FILETYPE, 99)],
  [
    'a command of a wrong size',
    'error',
    'MACHO_COMMAND_SIZE',
    'info',
    replaced(LC.LC_UUID, LC.LC_MAIN),
    replaced(LC.LC_MAIN, LC.LC_UUID),
    command32(LC.LC_BUILD_VERSION, 20, 9),
  ],
  [
    'a build version of more tools than it has',
    'error',
    'MACHO_COMMAND_SIZE',
    'info',
    command32(LC.LC_BUILD_VERSION, 20, 2),
  ],
  ['a command of an odd size', 'strict', 'MACHO_COMMAND_ALIGN', 'info', splitDylinker],
  [
    'a command that dyld must know',
    'error',
    'MACHO_UNKNOWN_COMMAND',
    'info',
    replaced(LC.LC_UUID, 0x8000_00f0),
  ],
  ['a command of another age', 'strict', 'MACHO_OBSOLETE_COMMAND', 'info', replaced(LC.LC_UUID, LC.LC_IDENT)],
  [
    'a library whose name is outside of its command',
    'error',
    'MACHO_COMMAND_STRING',
    'info',
    command32(LC.LC_LOAD_DYLIB, 8, 0x1000),
  ],
  ['a name that does not end', 'error', 'MACHO_COMMAND_STRING', 'info', endless(LC.LC_LOAD_DYLIB, 24)],
  ['two UUIDs', 'error', 'MACHO_UUID', 'info', replaced(LC.LC_MAIN, LC.LC_UUID)],
  [
    'no UUID in an executable of the newest SDK',
    'error',
    'MACHO_UUID',
    'info',
    sdk(26),
    replaced(LC.LC_UUID, 0x7f),
  ],
  ['no UUID in a library of SDK 12', 'error', 'MACHO_UUID', 'dylib', sdk(12), replaced(LC.LC_UUID, 0x7f)],
  ['a library without a name', 'error', 'MACHO_ID_DYLIB', 'dylib', replaced(LC.LC_ID_DYLIB, 0x7f)],
  [
    'an executable with the name of a library',
    'error',
    'MACHO_ID_DYLIB',
    'info',
    replaced(LC.LC_LOAD_DYLIB, LC.LC_ID_DYLIB),
  ],
  ['no library at all', 'error', 'MACHO_NO_DYLIB', 'info', sdk(15, 4), replaced(LC.LC_LOAD_DYLIB, 0x7f)],
  ['two platforms', 'error', 'MACHO_PLATFORM', 'info', replaced(LC.LC_UUID, LC.LC_VERSION_MIN_MACOSX)],
  ['no entry', 'error', 'MACHO_ENTRY', 'info', replaced(LC.LC_MAIN, 0x7f)],
  ['two entries', 'error', 'MACHO_ENTRY', 'info', replaced(LC.LC_UUID, LC.LC_UNIXTHREAD)],
  ['an entry in data', 'error', 'MACHO_ENTRY', 'info', entryInData],
  ['no dynamic linker', 'error', 'MACHO_DYLINKER', 'info', replaced(LC.LC_LOAD_DYLINKER, 0x7f)],
  [
    'another dynamic linker',
    'error',
    'MACHO_DYLINKER',
    'info',
    named(LC.LC_LOAD_DYLINKER, 12, '/usr/lib/dylx'),
  ],
  [
    'an executable for arm64 that does not slide',
    'error',
    'MACHO_PIE',
    'arm-info',
    header32(FLAGS, was => was & ~0x20_0000),
  ],
  ['a note outside of the file', 'strict', 'MACHO_NOTE', 'info', note(0x1000_0000)],
  [
    'a note in __LINKEDIT',
    'strict',
    'MACHO_NOTE',
    'info',
    file => note(file.u64(file.segment('__LINKEDIT') + 40))(file),
  ],
]);

testSound(
  'an executable without a UUID, of an SDK before 26',
  'info',
  sdk(15, 5),
  replaced(LC.LC_UUID, 0x7f),
);
/** LC_LOAD_DYLINKER gives four of its bytes to a command after it, which is of an odd size then. */
function splitDylinker(file: Parameters<Edit>[0]): void {
  // LC_BUILD_VERSION with one tool is 32 bytes: 12 of another command, and 20 of one that nobody knows.
  const at = file.command(LC.LC_BUILD_VERSION);
  file.set32(at, 0x7e);
  file.set32(at + 4, 12);
  file.set32(at + 12, 0x7f);
  file.set32(at + 16, 20);
  file.add32(16, 1);
}

function entryInData(file: Parameters<Edit>[0]): void {
  const distance = file.u64(file.segment('__DATA') + 24) - file.u64(file.segment('__TEXT') + 24);
  file.set64(file.command(LC.LC_MAIN) + 8, distance);
}

function endless(cmd: number, at: number): Edit {
  return file => {
    const command = file.command(cmd);
    file.bytes.fill(0x41, command + at, command + file.u32(command + 4));
  };
}

/** Makes LC_NOTE of LC_BUILD_VERSION and LC_UUID's room: 40 bytes in a row. */
function note(offset: number): Edit {
  return file => {
    const uuid = file.command(LC.LC_UUID);
    const build = file.command(LC.LC_BUILD_VERSION);
    if (build !== uuid + 24) throw new Error('LC_BUILD_VERSION does not follow LC_UUID');
    const tail = file.bytes.slice(build, build + 16);
    file.bytes.fill(0, uuid, build + 32);
    file.set32(uuid, LC.LC_NOTE);
    file.set32(uuid + 4, 40);
    file.set64(uuid + 24, offset);
    file.set64(uuid + 32, 64);
    // What is left is a version of 16 bytes.
    file.set32(uuid + 40, LC.LC_VERSION_MIN_MACOSX);
    file.set32(uuid + 44, 16);
    file.set32(uuid + 48, new DataView(tail.buffer).getUint32(12, true));
    file.set32(uuid + 52, 0x000b_0000);
  };
}

testBreakages([
  ['a core of no threads', 'error', 'MACHO_CORE_THREADS', 'object', header32(FILETYPE, MH.MH_CORE)],
]);
