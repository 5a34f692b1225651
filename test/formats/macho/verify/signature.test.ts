import { LC, MH } from '../../../../formats/macho/constants.ts';
import { SEGMENT } from '../../../support/macho/edit.ts';
import {
  type Edit,
  header32,
  replaced,
  segment64,
  signedAgain,
  testBreakages,
  testSound,
} from '../support/verify.ts';

type File = Parameters<Edit>[0];

const signatureAt = (file: File): number => file.u32(file.command(LC.LC_CODE_SIGNATURE) + 8);

/** The code directory: the first blob, behind the index. All of it is big-endian. */
function directoryAt(file: File): number {
  const at = signatureAt(file);
  return at + file.view.getUint32(at + 16, false);
}

const directory32 =
  (field: number, value: number | ((was: number) => number)): Edit =>
  file => {
    const at = directoryAt(file) + field;
    file.view.setUint32(at, typeof value === 'number' ? value : value(file.view.getUint32(at, false)), false);
  };

const directory8 =
  (field: number, value: number): Edit =>
  file => {
    file.bytes[directoryAt(file) + field] = value;
  };

/** Fields of CS_CodeDirectory. */
const CD = { magic: 0, nSpecialSlots: 24, codeLimit: 32, pageSize: 39, execSegLimit: 76, execSegFlags: 84 };

testBreakages([
  ['no signature on arm64', 'error', 'MACHO_UNSIGNED', 'arm', replaced(LC.LC_CODE_SIGNATURE, 0x7f)],
  [
    'a byte that is not what was signed',
    'error',
    'MACHO_PAGE_HASH',
    'arm',
    file => {
      file.bytes[0x4001] = 0x5a;
    },
  ],
  ['a signature that is none', 'error', 'MACHO_BAD_SIGNATURE', 'arm', directory32(CD.magic, 0)],
  [
    'requirements that are not there',
    'error',
    'MACHO_SPECIAL_SLOT',
    'arm',
    directory32(CD.nSpecialSlots, 2),
    notZero,
  ],
  [
    'pages of a size that no kernel has',
    'error',
    'MACHO_CODE_DIRECTORY',
    'arm',
    directory8(CD.pageSize, 13),
    halfTheSlots,
  ],
  [
    'an executable segment that is not __TEXT',
    'strict',
    'MACHO_EXECSEG',
    'arm',
    directory32(CD.execSegLimit, 0x40),
  ],
  [
    'a program that is signed as a library',
    'strict',
    'MACHO_EXECSEG',
    'arm',
    directory32(CD.execSegFlags, 0),
  ],
  [
    'a signature of less than comes before it',
    'strict',
    'MACHO_CODE_LIMIT',
    'arm',
    directory32(CD.codeLimit, n => n - 1),
  ],
  [
    'a segment that is not signed',
    'error',
    'MACHO_CODE_LIMIT',
    'arm',
    file => {
      const end = file.u64(file.segment('__DATA') + SEGMENT.fileoff);
      directory32(CD.codeLimit, end)(file);
      directory32(28, Math.ceil(end / 4096))(file);
    },
  ],
]);

/** What lies where the hash of slot 2 would be: fields that are zeros, execSegBase among them. */
function notZero(file: File): void {
  const directory = directoryAt(file);
  const hashOffset = file.view.getUint32(directory + 16, false);
  file.bytes[directory + hashOffset - 64 + 31] = 1;
}

/** nCodeSlots as pages of 8 KiB need them. */
function halfTheSlots(file: File): void {
  directory32(28, n => Math.ceil(n / 2))(file);
}

testSound(
  'a change that was signed again',
  'arm',
  file => {
    file.bytes[file.u64(file.segment('__DATA') + SEGMENT.fileoff) + 0x3ff0] = 0;
  },
  signedAgain,
);

testBreakages([
  [
    'a library that is signed as a program',
    'strict',
    'MACHO_EXECSEG',
    'arm',
    header32(12, MH.MH_BUNDLE),
    segment64('__PAGEZERO', SEGMENT.vmsize, 0x1_0000_0000),
    signedAgain,
  ],
]);
