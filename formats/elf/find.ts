/**
 * Finds things in an ELF file and reads them: sections by name, segments by type, bytes by address.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { SourceSlice } from '../source.ts';
import { PT } from './constants.ts';
import {
  contentsSize,
  type ElfFile,
  type ElfSection,
  type ElfSegment,
  hasFileBytes,
  readContents,
} from './model.ts';

/** The first section of this name. */
export const findSection = (file: ElfFile, name: string): ElfSection | undefined =>
  file.sections.find(section => section.name === name);

/** The first segment of this type (PT_*). */
export const findSegment = (file: ElfFile, type: number): ElfSegment | undefined =>
  file.segments.find(segment => segment.type === type);

/**
 * The bytes of a section; none for SHT_NOBITS. A view, where the section or the source is in memory.
 *
 * @throws FormatError `ELF_EXTERNAL` where the section's contents are not in the model
 */
export function sectionContents(section: ElfSection): Uint8Array {
  if (section.contents) return readContents(section.contents, 0, contentsSize(section.contents));
  if (!hasFileBytes(section) || section.size === 0) return new Uint8Array(0);
  throw new FormatError('ELF_EXTERNAL', `ELF: section ${JSON.stringify(section.name)} has no contents here`);
}

/**
 * The stretch of the file that a segment is loaded from, to be read in parts: p_filesz bytes.
 *
 * @throws FormatError `ELF_TRUNCATED` where the file ends before (a cut-off core)
 */
export function segmentSource(file: ElfFile, segment: ElfSegment): SourceSlice {
  const { offset, fileSize } = segment;
  if (!file.source || offset > file.source.size || fileSize > file.source.size - offset) {
    throw new FormatError(
      'ELF_TRUNCATED',
      `ELF: a segment is ${hex(fileSize)} bytes at ${hex(offset)}, expected to end within the file's ${hex(file.source?.size ?? 0)} bytes`,
      { offset, value: fileSize },
    );
  }
  return new SourceSlice(file.source, offset, fileSize);
}

/** All bytes of `segmentSource`. */
export function segmentContents(file: ElfFile, segment: ElfSegment): Uint8Array {
  const source = segmentSource(file, segment);
  return source.read(0, source.size);
}

/**
 * What a PT_LOAD puts at an address: the source of everything from there to the end of its bytes in the
 * file. Undefined where no segment has bytes there.
 */
export function atAddress(file: ElfFile, address: bigint): SourceSlice | undefined {
  for (const segment of file.segments) {
    const into = address - segment.address;
    if (segment.type !== PT.PT_LOAD || into < 0n || into >= BigInt(segment.fileSize)) continue;
    const { source, offset, size } = segmentSource(file, segment);
    return new SourceSlice(source, offset + Number(into), size - Number(into));
  }
  return undefined;
}
