/**
 * Says what is in a file: what its format has, and of our own files where it comes from and what comes back. The
 * reports are plain JSON (inspect/model.ts).
 *
 * @module
 */
import { type ByteSource, describeFile, type ImageDescription } from '../formats/describe/index.ts';
import {
  DT,
  dynamicStrings,
  type ElfFile,
  isDebugFile,
  isProgram,
  readBuildId,
  readElf,
} from '../formats/elf/index.ts';
import { type MachOFile, MH, readDylibs, readMachO, readUuid } from '../formats/macho/index.ts';
import { SourceSlice } from '../formats/source.ts';
import { findReserve as findElfReserve } from './elf/reserve.ts';
import { openRegularFile } from './file-source.ts';
import { inspectFrozen } from './inspect/frozen.ts';
import type { InspectedImage, InspectReport, PreparedProgram } from './inspect/model.ts';
import { notesOfElf, notesOfMachO, type OurNotes } from './inspect/notes.ts';
import { findReserve as findMachOReserve } from './macho/reserve.ts';

export interface InspectOptions {
  /** Reports the steps of the restore program, too. */
  readonly steps?: boolean;
}

/**
 * What is in the file at `path`. Of a program or library that unexec wrote all pages are looked at, a few at a time.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `MANIFEST_VERSION`, `RESERVE_…`; FormatError for a file that makes no sense,
 *   `UNKNOWN_FORMAT` for one that is neither ELF nor Mach-O
 */
export function inspectFile(path: string, { steps = false }: InspectOptions = {}): InspectReport {
  const source = openRegularFile(path);
  try {
    const { format, size, images } = describeFile(source);
    return {
      version: 1,
      path,
      format,
      size,
      images: images.map(image => inspectImage({ path, source, image }, steps)),
    };
  } finally {
    source.close();
  }
}

interface Opened {
  readonly path: string;
  /** The whole file; an image's offsets are this one's. */
  readonly source: ByteSource;
  readonly image: ImageDescription;
}

function inspectImage(opened: Opened, withSteps: boolean): InspectedImage {
  const { image } = opened;
  const { format, kind, arch, offset, size } = image;
  return {
    ...{ format, kind, arch, offset, size },
    ...(format === 'ELF' ? elfFacts(opened, withSteps) : machoFacts(opened, withSteps)),
    segments: image.segments.map(segment => ({
      name: segment.name,
      protection: segment.protection,
      address: hexOf(segment.address),
      memorySize: segment.memorySize,
      offset: segment.offset,
      fileSize: segment.fileSize,
    })),
    sections: image.sections.map(section => ({
      name: section.name,
      type: section.type,
      protection: section.protection ?? null,
      address: section.address === undefined ? null : hexOf(section.address),
      memorySize: section.memorySize,
      offset: section.offset ?? null,
      fileSize: section.fileSize,
    })),
  };
}

type Facts = Pick<InspectedImage, 'identifier' | 'libraries' | 'unexec'>;

function elfFacts(opened: Opened, withSteps: boolean): Facts {
  const elf = readElf(opened.source);
  // Segments of a debug file are those of the program that it was made from, without their bytes.
  if (isDebugFile(elf)) return { identifier: null, libraries: [], unexec: null };
  const buildId = readBuildId(elf);
  const notes = notesOfElf(elf);
  const libraries = dynamicStrings(elf, DT.DT_NEEDED);
  return {
    identifier: buildId === undefined ? null : { type: 'build-id', value: buildId },
    libraries,
    unexec: notes ? frozenOf({ ...opened, libraries }, notes, elf, withSteps) : preparedElf(elf),
  };
}

function machoFacts(opened: Opened, withSteps: boolean): Facts {
  const { source, image } = opened;
  const macho = readMachO(new SourceSlice(source, image.offset, image.size));
  const uuid = readUuid(macho);
  const notes = notesOfMachO(macho);
  const libraries = readDylibs(macho).map(({ path }) => path);
  return {
    identifier: uuid === undefined ? null : { type: 'uuid', value: uuid },
    libraries,
    unexec: notes ? frozenOf({ ...opened, libraries }, notes, undefined, withSteps) : preparedMachO(macho),
  };
}

const frozenOf = (
  opened: Opened & { readonly libraries: readonly string[] },
  notes: OurNotes,
  elf: ElfFile | undefined,
  withSteps: boolean,
): InspectedImage['unexec'] => inspectFrozen({ ...opened, notes, elf }, withSteps);

const preparedElf = (file: ElfFile): PreparedProgram | null =>
  isProgram(file) ? prepared(findElfReserve(file)) : null;

const preparedMachO = (file: MachOFile): PreparedProgram | null =>
  file.header.filetype === MH.MH_EXECUTE ? prepared(findMachOReserve(file)) : null;

const prepared = (reserve: ReturnType<typeof findElfReserve> | ReturnType<typeof findMachOReserve>) =>
  reserve?.base === undefined
    ? null
    : ({ style: 'prepared', reserve: { address: hexOf(reserve.base), size: reserve.size } } as const);

const hexOf = (address: bigint): `0x${string}` => `0x${address.toString(16)}`;
