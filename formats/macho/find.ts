/**
 * Finds things in a Mach-O file: commands, segments and sections by name, bytes by offset or address.
 *
 * @module
 */
import { type Contents, contentsSize, sliceContents, wholeContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { SourceSlice } from '../source.ts';
import { S, SECTION_TYPE } from './constants.ts';
import {
  isSegment,
  type MachOFile,
  type MachOSection,
  type OtherCommand,
  type SegmentCommand,
} from './model.ts';

/** The segments, in the order of their commands: what a fixup calls segment 2 is at 2. */
export const segmentsOf = (file: MachOFile): SegmentCommand[] => file.commands.filter(isSegment);

/** The sections of all segments, in order: what a symbol calls section 5 (n_sect) is at 4. */
export const sectionsOf = (file: MachOFile): MachOSection[] =>
  segmentsOf(file).flatMap(({ sections }) => sections);

/** The first segment of this name. */
export const findSegment = (file: MachOFile, segname: string): SegmentCommand | undefined =>
  segmentsOf(file).find(segment => segment.segname === segname);

/** The first section of this name. In objects, all sections are in one segment, and still have their names. */
export const findSection = (file: MachOFile, segname: string, sectname: string): MachOSection | undefined =>
  sectionsOf(file).find(section => section.segname === segname && section.sectname === sectname);

/** The first command of this kind (LC_*); segments have `findSegment`. */
export const findCommand = (file: MachOFile, cmd: number): OtherCommand | undefined =>
  findCommands(file, cmd)[0];

/** All commands of this kind, or of one of these kinds, in order. */
export const findCommands = (file: MachOFile, ...cmds: readonly number[]): OtherCommand[] =>
  file.commands.filter(
    (command): command is OtherCommand => !isSegment(command) && cmds.includes(command.cmd),
  );

/** The type of a section, S_*. */
export const sectionType = (section: MachOSection): number => section.flags & SECTION_TYPE;

const ZERO_FILL: ReadonlySet<number> = new Set([S.S_ZEROFILL, S.S_GB_ZEROFILL, S.S_THREAD_LOCAL_ZEROFILL]);

/** Whether a section has no bytes in the file. */
export const isZeroFill = (section: MachOSection): boolean => ZERO_FILL.has(sectionType(section));

/**
 * The bytes of a section, not read; of no bytes for zero-fill sections.
 *
 * @throws FormatError `MACHO_BAD_SECTION` where they are not within the segment, `MACHO_EXTERNAL`
 */
export function sectionSource(file: MachOFile, section: MachOSection): Contents {
  if (isZeroFill(section) || section.size === 0n) return new Uint8Array(0);
  const segment = segmentsOf(file).find(({ sections }) => sections.includes(section));
  const within = section.offset - (segment?.fileoff ?? 0);
  const size = segment?.filesize ?? 0;
  if (!segment || within < 0 || within > size || section.size > BigInt(size - within)) {
    throw new FormatError(
      'MACHO_BAD_SECTION',
      `Mach-O: section ${section.segname},${section.sectname} is ${hex(section.size)} bytes at ${hex(section.offset)}, expected to be within the ${hex(size)} bytes at ${hex(segment?.fileoff ?? 0)} of its segment`,
      { offset: section.offset, value: section.size },
    );
  }
  if (segment.contents) return sliceContents(segment.contents, within, Number(section.size));
  throw new FormatError(
    'MACHO_EXTERNAL',
    `Mach-O: segment ${JSON.stringify(segment.segname)} has no contents here`,
    { offset: segment.fileoff },
  );
}

/** All bytes of `sectionSource`. */
export const sectionContents = (file: MachOFile, section: MachOSection): Uint8Array =>
  wholeContents(sectionSource(file, section));

/**
 * What a segment puts at an address: everything from there to the end of its bytes in the file. Undefined
 * where no segment has bytes there.
 */
export function atAddress(file: MachOFile, address: bigint): Contents | undefined {
  for (const { vmaddr, contents } of segmentsOf(file)) {
    const into = address - vmaddr;
    if (!contents || into < 0n || into >= BigInt(contentsSize(contents))) continue;
    return sliceContents(contents, Number(into), contentsSize(contents) - Number(into));
  }
  return undefined;
}

/**
 * A stretch of the file, wherever in the model it is: what an LC_NOTE points at, for example.
 *
 * @throws FormatError `MACHO_EXTERNAL` where the model does not hold it
 */
export function atOffset(file: MachOFile, offset: number, size: number): Contents {
  const held = [
    ...segmentsOf(file).map(({ fileoff, contents }) => ({ at: fileoff, contents })),
    ...file.linkedit.map(({ offset: at, contents }) => ({ at, contents })),
    ...file.kept.map(({ offset: at, contents }) => ({ at, contents })),
  ];
  for (const { at, contents } of held) {
    if (at === undefined || !contents || offset < at || offset - at > contentsSize(contents) - size) continue;
    return sliceContents(contents, offset - at, size);
  }
  // Padding is not in the model, and a hostile stretch can be half in one thing and half in the next.
  if (file.source && offset <= file.source.size && size <= file.source.size - offset) {
    return new SourceSlice(file.source, offset, size);
  }
  throw new FormatError(
    'MACHO_EXTERNAL',
    `Mach-O: nothing in the file holds ${hex(size)} bytes at ${hex(offset)}`,
    { offset, value: size },
  );
}
