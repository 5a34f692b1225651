/**
 * Verifies a file on disk, whatever wrote it: the rules of its format, and for a file of ours also that it is
 * what it says about itself.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import {
  type ElfFile,
  EM,
  FormatError,
  kindOfElf,
  nameOf,
  readElf,
  verifyElf,
} from '../formats/elf/index.ts';
import type { Finding } from '../formats/finding.ts';
import {
  CPU_TYPE,
  type FatFile,
  isFat,
  isMachO,
  type MachOFile,
  MH,
  readFat,
  readMachO,
  verifyFat,
  verifyMachO,
} from '../formats/macho/index.ts';
import { type ByteSource, bytesSource } from '../formats/source.ts';
import { UnexecError } from './errors.ts';
import { openRegularFile } from './file-source.ts';
import { frozenFindings, isFrozen } from './verify.ts';
import { type VerifiedReserve, verifyElfReserve, verifyMachOReserve } from './verify-reserve.ts';

/** A finding; in a fat file, with the slice that it is about. */
export interface FileFinding extends Finding {
  readonly slice?: string;
}

export interface VerifiedFile {
  readonly path: string;
  /** What the file is: one item, or one a slice of a fat file. */
  readonly what: readonly string[];
  /** Those that are errors come first. */
  readonly findings: readonly FileFinding[];
}

/**
 * All that is wrong with the file. What cannot be read as its format is a finding, too.
 *
 * @throws UnexecError `FILE_UNREADABLE`; `UNKNOWN_FORMAT` when it is no ELF or Mach-O file, or a kind of them
 *   that is not known here (32-bit, big-endian)
 */
export function verifyFile(path: string): VerifiedFile {
  const source = openRegularFile(path);
  try {
    const { what, findings } = verifySource(source, path);
    return { path, what, findings: [...findings].sort((a, b) => rank(a) - rank(b)) };
  } finally {
    source.close();
  }
}

const rank = ({ severity }: Finding): number => (severity === 'error' ? 0 : 1);

function verifySource(source: ByteSource, path: string): Omit<VerifiedFile, 'path'> {
  const magic = source.read(0, Math.min(4, source.size));
  if (isElf(magic)) return verifyElfSource(source, path);
  if (isFat(magic)) return verifyFatSource(source, path);
  if (isMachO(magic)) return verifyMachOSource(source, path);
  throw new UnexecError('UNKNOWN_FORMAT', `${path} is neither an ELF nor a Mach-O file`, { path });
}

const isElf = (magic: Uint8Array): boolean => [0x7f, 0x45, 0x4c, 0x46].every((byte, i) => magic[i] === byte);

function verifyElfSource(source: ByteSource, path: string): Omit<VerifiedFile, 'path'> {
  let file: ElfFile;
  try {
    file = readElf(source);
  } catch (error) {
    return { what: ['ELF'], findings: [unreadable(error, path)] };
  }
  const frozen = isFrozen(file);
  // What a frozen program has in memory is not the file's own reserve.
  const { state, findings } = frozen ? NO_RESERVE : verifyElfReserve(file);
  return {
    what: [`${describeElf(file)}${frozen ? ', frozen by unexec' : STATES[state]}`],
    findings: [...verifyElf(file, { mapsItself: frozen }), ...frozenFindings(file), ...findings],
  };
}

const NO_RESERVE: VerifiedReserve = { state: 'none', findings: [] };

const describeElf = (file: ElfFile): string =>
  `ELF ${nameOf(EM, file.header.machine).replace('EM_', '').toLowerCase()} ${kindOfElf(file)}`;

/** In a fat file, `slice` is what the findings are about, and `start` where it begins. */
function verifyMachOSource(source: ByteSource, path: string): Omit<VerifiedFile, 'path'> {
  let file: MachOFile;
  try {
    file = readMachO(source);
  } catch (error) {
    return { what: ['Mach-O'], findings: [unreadable(error, path)] };
  }
  const { state, findings } = verifyMachOReserve(file);
  return { what: [describeMachO(file, state)], findings: [...verifyMachO(file, sha256), ...findings] };
}

function verifyFatSource(source: ByteSource, path: string): Omit<VerifiedFile, 'path'> {
  let fat: FatFile;
  try {
    fat = readFat(source);
  } catch (error) {
    return { what: ['Mach-O of several architectures'], findings: [unreadable(error, path)] };
  }
  const what: string[] = [];
  const findings: FileFinding[] = verifyFat(fat);
  for (const { cputype, offset: start = 0, contents } of fat.architectures) {
    const slice = nameOfCpu(cputype);
    const of = verifyMachOSource(contents instanceof Uint8Array ? bytesSource(contents) : contents, path);
    what.push(...of.what);
    for (const finding of of.findings) {
      const { offset } = finding;
      findings.push({ ...finding, slice, ...(offset === undefined ? {} : { offset: offset + start }) });
    }
  }
  return { what, findings };
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

function describeMachO({ header }: MachOFile, state: VerifiedReserve['state']): string {
  const kind = nameOf(MH, header.filetype).replace('MH_', '').toLowerCase();
  return `Mach-O ${nameOfCpu(header.cputype)} ${MACHO_KINDS[kind] ?? kind}${STATES[state]}`;
}

const MACHO_KINDS: Readonly<Record<string, string>> = {
  execute: 'executable',
  object: 'relocatable',
  dylib: 'shared library',
  dsym: 'debug file',
};

const STATES: Readonly<Record<VerifiedReserve['state'], string>> = {
  none: '',
  prepared: ', prepared by unexec',
  dumped: ', dumped by unexec',
};

const nameOfCpu = (cputype: number): string =>
  nameOf(CPU_TYPE, cputype).replace('CPU_TYPE_', '').toLowerCase();

/** What the reader has to say of a file that makes no sense. */
function unreadable(error: unknown, path: string): Finding {
  if (!(error instanceof FormatError)) throw error;
  const { code, message, offset } = error;
  if (code.includes('UNSUPPORTED')) {
    throw new UnexecError('UNKNOWN_FORMAT', `${path} is of a kind that is not known here: ${message}`, {
      path,
      cause: error,
    });
  }
  return { code, severity: 'error', message, ...(offset === undefined ? {} : { offset }) };
}
