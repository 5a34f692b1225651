/**
 * An ELF executable on disk, opened for `prepare` and for the restart style, and the reasons for which one
 * cannot be prepared or dumped.
 *
 * @module
 */
import { type ElfFile, EM, ET, isProgram, nameOf, PT, readElf } from '../../formats/elf/index.ts';
import { type Reason, UnexecError } from '../errors.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';
import { isFrozen } from '../verify.ts';

export interface OpenElf {
  readonly path: string;
  /** Contents are read from the file until `close`. */
  readonly file: ElfFile;
  close(): void;
}

/** Whether a file begins as ELF files do; no for one that cannot be read. */
export function isElfFile(path: string): boolean {
  let source: FileSource | undefined;
  try {
    source = openRegularFile(path);
    const magic = source.read(0, Math.min(4, source.size));
    return [0x7f, 0x45, 0x4c, 0x46].every((byte, i) => magic[i] === byte);
  } catch {
    return false;
  } finally {
    source?.close();
  }
}

/**
 * Opens an ELF executable for x86-64 or AArch64: position-independent or not, dynamic or static.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `NOT_AN_ELF_EXECUTABLE`, `CANNOT_BE_KEPT` with every reason;
 *   FormatError for a malformed file, a 32-bit or a big-endian one
 */
export function openElf(path: string): OpenElf {
  const source = openRegularFile(path);
  try {
    const file = readElf(source);
    checkKind(file, path);
    const reasons = obstacles(file);
    if (reasons.length > 0) {
      const message = `${path} cannot be prepared or dumped, for ${reasons.length} reason${reasons.length === 1 ? '' : 's'}`;
      throw new UnexecError('CANNOT_BE_KEPT', message, { path, reasons });
    }
    return { path, file, close: () => source.close() };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Only what a kernel starts by itself. */
function checkKind(file: ElfFile, path: string): void {
  const { type } = file.header;
  if (isProgram(file)) return;
  const isLibrary = type === ET.ET_DYN;
  const found = isLibrary ? 'a shared library (ET_DYN without PT_INTERP and DF_1_PIE)' : nameOf(ET, type);
  throw new UnexecError('NOT_AN_ELF_EXECUTABLE', `${path} is ${found}, expected an executable`, {
    path,
    ...(isLibrary ? { hint: 'libraries are frozen by --style shared, which needs no reserve' } : {}),
  });
}

/** Everything about a program that cannot be kept. */
function obstacles(file: ElfFile): Reason[] {
  const reasons: Reason[] = [];
  const { machine } = file.header;
  if (machine !== EM.EM_X86_64 && machine !== EM.EM_AARCH64) {
    reasons.push({
      code: 'ELF_MACHINE',
      what: `it is for ${nameOf(EM, machine)}`,
      remedy: 'build it for EM_X86_64 or EM_AARCH64',
    });
  }
  if (isFrozen(file)) {
    reasons.push({
      code: 'ELF_FROZEN',
      what: 'it is a process that unexec has frozen (--style resume), which maps its memory by itself',
      remedy: 'use the program that was frozen',
    });
  }
  if (!file.segments.some(({ type }) => type === PT.PT_LOAD)) {
    reasons.push({
      code: 'ELF_NO_LOAD',
      what: 'it has no PT_LOAD',
      remedy: 'use a program that can be started',
    });
  }
  return reasons;
}
