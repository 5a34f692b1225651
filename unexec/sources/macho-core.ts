/**
 * A Mach-O core as a source: the memory of the process, and where in it its executable is. Cores of xnu's
 * kernel and of lldb, full ones and lldb's "modified-memory" ones, which lack the pages that nobody has
 * written to: those come from the executable.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { FormatError, hex } from '../../formats/errors.ts';
import {
  type CoreThread,
  CPU_SUBTYPE_ARM64,
  CPU_SUBTYPE_MASK,
  CPU_TYPE,
  type MachOCore,
  type MachOFile,
  MH,
  MH_MAGICS,
  mach_header_64,
  nameOf,
  readCore,
  readMachO,
  SG,
  VM_PROT,
} from '../../formats/macho/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';
import type { Arch, MemoryImage } from '../image.ts';
import { type OpenExecutable, openExecutable } from '../macho/executable.ts';
import { type FoundMachO, findMachO, type ListedImage } from '../macho/find-executable.ts';
import { loadedSegments } from '../macho/loaded-segments.ts';
import {
  cleanStretches,
  type LaidSegment,
  laidSegments,
  presentStretches,
  stretchOf,
} from './core-stretches.ts';
import { type MemoryStretch, StretchMemory } from './stretch-memory.ts';

/** An executable, and where it was found in memory. */
export interface FoundExecutable extends FoundMachO {
  readonly path: string;
  /** Contents can be read until the source is closed. */
  readonly file: MachOFile;
}

export interface OpenCore {
  readonly path: string;
  readonly image: MemoryImage;
  readonly executable: FoundExecutable;
  readonly threads: readonly CoreThread[];
  /** All else that the core says. */
  readonly core: MachOCore;
  /** Bytes of the executable's segments that are not in the core and come from the file. */
  readonly cleanBytes: number;
  close(): void;
}

/** Whether a file is a 64-bit Mach-O core. */
export function isMachOCore(path: string): boolean {
  const source = openRegularFile(path);
  try {
    if (source.size < mach_header_64.size) return false;
    const { magic, filetype } = mach_header_64.read(viewOf(source.read(0, mach_header_64.size)), 0, true);
    return magic === MH_MAGICS.MH_MAGIC_64 && filetype === MH.MH_CORE;
  } finally {
    source.close();
  }
}

/**
 * Opens a core and the executable of its process.
 *
 * @param exe path of the executable; without it, the one that the core names, if it is there
 * @throws UnexecError `FILE_UNREADABLE`, `NOT_A_MACHO_CORE`, `CORE_TRUNCATED`, `CORE_WITHOUT_DATA`,
 *   `EXECUTABLE_NEEDED`, `ARCH_DIFFERS`, `CANNOT_BE_KEPT` (arm64e and others), and those of `findMachO`; FormatError for a
 *   malformed file
 */
export function openMachOCore(path: string, exe?: string): OpenCore {
  const source = openRegularFile(path);
  let executable: OpenExecutable | undefined;
  try {
    const core = parseCore(source, path);
    refuseArm64e(core, path);
    executable = openExecutable(exe ?? executableOf(core, path));
    checkArch(core, path, executable);
    const { file } = executable;
    const bare = core.memory.map(memory => stretchOf(memory));
    const found = findMachO(imageOf(core, bare), file, listedImages(core));
    const laid = laidSegments(file, found.slide);
    requireData(core, laid, path);
    const present = presentStretches(core.memory, laid);
    const clean = cleanStretches(core.memory, laid, loadedSegments(file, found.slide));
    const stretches = [...present, ...clean].sort((a, b) => (a.start < b.start ? -1 : 1));
    const opened = executable;
    return {
      path,
      image: { ...imageOf(core, stretches), clean },
      executable: { path: opened.path, file, ...found },
      threads: core.threads,
      core,
      cleanBytes: clean.reduce((sum, { size }) => sum + size, 0),
      close: () => {
        source.close();
        opened.close();
      },
    };
  } catch (error) {
    source.close();
    executable?.close();
    throw error;
  }
}

function parseCore(source: FileSource, path: string): MachOCore {
  try {
    return readCore(readMachO(source));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    if (cause.code === 'MACHO_TRUNCATED') {
      throw new UnexecError('CORE_TRUNCATED', `the core ${path} is cut off: ${cause.message}`, {
        path,
        cause,
        hint: 'take the core again, where there is room for it',
      });
    }
    if (cause.code === 'MACHO_NOT_A_CORE' || cause.code === 'MACHO_BAD_MAGIC' || cause.code === 'MACHO_FAT') {
      throw new UnexecError('NOT_A_MACHO_CORE', `${path} is no Mach-O core: ${cause.message}`, {
        path,
        cause,
      });
    }
    throw cause;
  }
}

function refuseArm64e({ cputype, cpusubtype }: MachOCore, path: string): void {
  const subtype = cpusubtype & ~CPU_SUBTYPE_MASK;
  if (cputype !== CPU_TYPE.CPU_TYPE_ARM64 || subtype !== CPU_SUBTYPE_ARM64.CPU_SUBTYPE_ARM64E) return;
  throw new UnexecError(
    'MACHO_ARM64E',
    `the core ${path} is of a process whose pointers the CPU signs (arm64e)`,
    {
      path,
      hint: 'build the program for arm64',
    },
  );
}

function checkArch({ cputype }: MachOCore, path: string, { path: exe, file }: OpenExecutable): void {
  if (cputype === file.header.cputype) return;
  const [own, other] = [cputype, file.header.cputype].map(type => nameOf(CPU_TYPE, type));
  throw new UnexecError('ARCH_DIFFERS', `the core ${path} is for ${own}, and ${exe} for ${other}`, {
    path: exe,
  });
}

/** lldb's cores name their images, by paths of the machine on which they were taken. */
function executableOf({ images, binaries }: MachOCore, path: string): string {
  const named = [...(images ?? []).map(image => image.path), ...binaries.map(({ name }) => name)];
  for (const candidate of named) {
    if (candidate === undefined || !candidate.startsWith('/') || !existsSync(candidate)) continue;
    if (isExecutableFile(candidate)) return candidate;
  }
  throw new UnexecError('EXECUTABLE_NEEDED', `the core ${path} names no executable that is on this machine`, {
    path,
    hint: 'give it: --exe FILE',
  });
}

function isExecutableFile(path: string): boolean {
  const source = openRegularFile(path);
  try {
    return readMachO(source).header.filetype === MH.MH_EXECUTE;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  } finally {
    source.close();
  }
}

const listedImages = ({ images, binaries }: MachOCore): ListedImage[] => [
  ...(images ?? []).flatMap(({ loadAddress, uuid }) =>
    loadAddress === undefined ? [] : [{ address: loadAddress, uuid }],
  ),
  ...binaries.flatMap(({ address, uuid }) => (address === undefined ? [] : [{ address, uuid }])),
];

const archOf = ({ cputype }: MachOCore): Arch => (cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 'aarch64' : 'x86_64');

const imageOf = (core: MachOCore, stretches: readonly MemoryStretch[]): MemoryImage => ({
  arch: archOf(core),
  regions: stretches,
  memory: new StretchMemory(stretches),
});

/**
 * A core of the stacks alone would be filled up with data as it was before the program ran. Where a program
 * has data, some of it is written before `main`: by the loader, if by nobody else.
 */
function requireData({ memory }: MachOCore, laid: readonly LaidSegment[], path: string): void {
  const written = laid.filter(
    ({ segment }) =>
      (segment.initprot & VM_PROT.VM_PROT_WRITE) !== 0 && (segment.flags & SG.SG_READ_ONLY) === 0,
  );
  const [first] = written;
  if (first === undefined) return;
  const has = written.some(({ start, end }) =>
    memory.some(({ address, size }) => address < end && address + BigInt(size) > start),
  );
  if (has) return;
  throw new UnexecError(
    'CORE_WITHOUT_DATA',
    `the core ${path} holds nothing of the program's data (${first.segment.segname}, at ${hex(first.start)})`,
    { path, hint: 'take it with all memory, not with the stacks alone: process save-core -s full, in lldb' },
  );
}
