/**
 * A Mach-O executable on disk, opened for `prepare` and for the restart style, and the reasons for which one
 * cannot be prepared or dumped.
 *
 * @module
 */
import { hex } from '../../formats/errors.ts';
import {
  blobSize,
  CPU_SUBTYPE_ARM64,
  CPU_SUBTYPE_MASK,
  CPU_TYPE,
  findCommand,
  findSegment,
  isFat,
  isMachO,
  LC,
  type MachOFile,
  MH,
  nameOf,
  readMachO,
  sectionsOf,
} from '../../formats/macho/index.ts';
import { type Reason, UnexecError } from '../errors.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';

export interface OpenExecutable {
  readonly path: string;
  /** Contents are read from the file until `close`. */
  readonly file: MachOFile;
  close(): void;
}

/**
 * Opens a thin Mach-O executable for x86_64 or arm64.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `NOT_A_MACHO_EXECUTABLE`, `MACHO_FAT`, `CANNOT_BE_KEPT` with every
 *   reason; FormatError for a malformed file
 */
export function openExecutable(path: string): OpenExecutable {
  const source = openRegularFile(path);
  try {
    checkKind(source, path);
    const file = readMachO(source);
    if (file.header.filetype !== MH.MH_EXECUTE) {
      const found = nameOf(MH, file.header.filetype);
      throw new UnexecError('NOT_A_MACHO_EXECUTABLE', `${path} is ${found}, expected MH_EXECUTE`, { path });
    }
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

function checkKind(source: FileSource, path: string): void {
  const magic = source.read(0, Math.min(4, source.size));
  if (isFat(magic)) {
    throw new UnexecError('MACHO_FAT', `${path} holds several architectures, expected one`, {
      path,
      hint: 'take one out (lipo -thin arm64), and join the results again (lipo -create)',
    });
  }
  if (!isMachO(magic)) {
    throw new UnexecError(
      'NOT_A_MACHO_EXECUTABLE',
      `${path} is no Mach-O file, expected a Mach-O executable`,
      {
        path,
        hint: 'prepare takes executables of macOS (Mach-O) and Linux (ELF); --exe, the one that ran in the process',
      },
    );
  }
}

/** Everything about a program that cannot be kept. */
function obstacles(file: MachOFile): Reason[] {
  const reasons: Reason[] = [];
  const subtype = file.header.cpusubtype & ~CPU_SUBTYPE_MASK;
  if (file.header.cputype === CPU_TYPE.CPU_TYPE_ARM64 && subtype === CPU_SUBTYPE_ARM64.CPU_SUBTYPE_ARM64E) {
    reasons.push({
      code: 'MACHO_ARM64E',
      what: 'its pointers are signed by the CPU (arm64e), with keys of one process',
      remedy: 'build it for arm64',
    });
  }
  const runtimes = new Map<string, string>();
  for (const { sectname, size } of sectionsOf(file)) {
    if (size === 0n) continue;
    if (OBJC.has(sectname)) runtimes.set('Objective-C', sectname);
    if (sectname.startsWith('__swift5_types')) runtimes.set('Swift', sectname);
  }
  for (const [runtime, section] of runtimes) {
    reasons.push({
      code: runtime === 'Swift' ? 'MACHO_SWIFT' : 'MACHO_OBJC',
      what: `it has classes of ${runtime} (section ${section}), which the language's runtime registers and rewrites at every start`,
      remedy: 'keep them in a library that the program links, or in another process',
    });
  }
  if (findCommand(file, LC.LC_ENCRYPTION_INFO_64) !== undefined) {
    reasons.push({
      code: 'MACHO_ENCRYPTED',
      what: 'it is encrypted',
      remedy: 'use the program as it was built',
    });
  }
  const relocations = blobSize(file, 'local-relocations') + blobSize(file, 'external-relocations');
  if (relocations > 0) {
    reasons.push({
      code: 'MACHO_RELOCATIONS',
      what: `it has ${hex(relocations)} bytes of relocations of the kind before LC_DYLD_INFO`,
      remedy: 'link it for macOS 10.6 or newer',
    });
  }
  if (findSegment(file, '__LINKEDIT') === undefined) {
    reasons.push({
      code: 'MACHO_NO_LINKEDIT',
      what: 'it has no segment __LINKEDIT',
      remedy: 'link it with ld(1)',
    });
  }
  return reasons;
}

/** Lists of what the Objective-C runtime takes over at the start. */
const OBJC: ReadonlySet<string> = new Set([
  '__objc_classlist',
  '__objc_nlclslist',
  '__objc_catlist',
  '__objc_protolist',
]);
