/**
 * mach_header_64: which files are ours to read, and what the header is once the commands are known.
 * `mach-o/loader.h` and `mach-o/fat.h` of cctools-1035.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { nameOf } from '../names.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { CPU_TYPE, FAT, MH_MAGICS } from './constants.ts';
import type { MachOHeader } from './model.ts';
import { BE, LE, mach_header_64 } from './structs.ts';

/** More commands than any file has: a core of a million regions. A hostile count would fill the memory. */
const MAX_COMMANDS = 2 ** 20;
const MAX_SIZE_OF_COMMANDS = 2 ** 26;

/** Whether these bytes begin as a Mach-O file does, of any word size and byte order, or as a fat file. */
export const isMachO = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 &&
  ([MH_MAGICS.MH_MAGIC, MH_MAGICS.MH_CIGAM, MH_MAGICS.MH_MAGIC_64, MH_MAGICS.MH_CIGAM_64].some(
    magic => magic === viewOf(bytes).getUint32(0, LE),
  ) ||
    isFat(bytes));

/** Whether these bytes begin as a fat file does. So does a Java class: `readFat` tells them apart. */
export const isFat = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 &&
  [FAT.FAT_MAGIC, FAT.FAT_MAGIC_64].some(magic => magic === viewOf(bytes).getUint32(0, BE));

/**
 * The header of a 64-bit, little-endian file for x86-64 or arm64.
 *
 * @throws FormatError `MACHO_TRUNCATED`, `MACHO_BAD_MAGIC`, `MACHO_FAT` (a file of several architectures),
 *   `MACHO_UNSUPPORTED_32BIT`, `MACHO_UNSUPPORTED_BIG_ENDIAN`, `MACHO_UNSUPPORTED_CPU`, `MACHO_BAD_COMMANDS`
 */
export function readHeader(source: ByteSource): mach_header_64 {
  checkMagic(source.read(0, Math.min(4, source.size)));
  if (source.size < mach_header_64.size) {
    throw new FormatError(
      'MACHO_TRUNCATED',
      `Mach-O: the file has ${hex(source.size)} bytes, expected a header of ${hex(mach_header_64.size)}`,
      { value: source.size },
    );
  }
  const header = mach_header_64.read(viewOf(source.read(0, mach_header_64.size)), 0, LE);
  const { cputype, ncmds, sizeofcmds } = header;
  if (cputype !== CPU_TYPE.CPU_TYPE_X86_64 && cputype !== CPU_TYPE.CPU_TYPE_ARM64) {
    const expected = 'CPU_TYPE_X86_64 or CPU_TYPE_ARM64';
    throw badHeader('MACHO_UNSUPPORTED_CPU', 'cputype', nameOf(CPU_TYPE, cputype), expected);
  }
  if (sizeofcmds > source.size - mach_header_64.size || sizeofcmds > MAX_SIZE_OF_COMMANDS) {
    const most = Math.min(source.size - mach_header_64.size, MAX_SIZE_OF_COMMANDS);
    throw badHeader('MACHO_BAD_COMMANDS', 'sizeofcmds', hex(sizeofcmds), `at most ${hex(most)}`);
  }
  if (ncmds > sizeofcmds / 8 || ncmds > MAX_COMMANDS) {
    const most = Math.min(Math.floor(sizeofcmds / 8), MAX_COMMANDS);
    throw badHeader('MACHO_BAD_COMMANDS', 'ncmds', ncmds, `at most ${most}`);
  }
  return header;
}

/** The part of it that the model keeps. */
export const modelHeader = ({
  cputype,
  cpusubtype,
  filetype,
  flags,
  reserved,
  sizeofcmds,
}: mach_header_64): MachOHeader => ({ cputype, cpusubtype, filetype, flags, reserved, sizeofcmds });

/** Bytes of a page, in memory and in files: to this segments are aligned. */
export const pageSizeOf = ({ cputype }: Pick<MachOHeader, 'cputype'>): number =>
  cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 0x4000 : 0x1000;

function checkMagic(bytes: Uint8Array): void {
  const magic = bytes.length === 4 ? viewOf(bytes).getUint32(0, LE) : 0;
  if (magic === MH_MAGICS.MH_MAGIC_64) return;
  const refusal = isFat(bytes)
    ? (['MACHO_FAT', 'of several architectures, expected one of them'] as const)
    : REFUSED[magic];
  if (refusal) {
    const [code, is] = refusal;
    throw new FormatError(code, `Mach-O: the file is ${is}`, { offset: 0, value: magic });
  }
  throw badHeader('MACHO_BAD_MAGIC', 'magic', hex(magic), `MH_MAGIC_64, ${hex(MH_MAGICS.MH_MAGIC_64)}`);
}

const BIG_ENDIAN = ['MACHO_UNSUPPORTED_BIG_ENDIAN', 'big-endian (PowerPC), expected little-endian'] as const;
const REFUSED: Readonly<Record<number, readonly [code: string, is: string]>> = {
  [MH_MAGICS.MH_MAGIC]: ['MACHO_UNSUPPORTED_32BIT', 'of 32 bits (MH_MAGIC), expected MH_MAGIC_64'],
  [MH_MAGICS.MH_CIGAM]: BIG_ENDIAN,
  [MH_MAGICS.MH_CIGAM_64]: BIG_ENDIAN,
};

const badHeader = (
  code: string,
  field: keyof mach_header_64,
  value: number | string,
  expected: string,
): FormatError => {
  const offset = mach_header_64.offsets[field];
  return new FormatError(code, `Mach-O: ${field} is ${value} at ${hex(offset)}, expected ${expected}`, {
    offset,
    value,
  });
};
