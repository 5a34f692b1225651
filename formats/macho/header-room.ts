/**
 * The room for load commands: they end before the first thing that the file holds, which for an executable
 * is the first section of __TEXT. Most linkers leave 32 bytes; `-headerpad` asks for more.
 *
 * @module
 */
import { readContents } from '../contents.ts';
import { isZeroFill, segmentsOf } from './find.ts';
import { isSegment, type LoadCommand, type MachOFile, type SegmentCommand } from './model.ts';
import { mach_header_64, section_64, segment_command_64 } from './structs.ts';

/** Bytes free between the commands and what follows them; Infinity where nothing does. */
export const headerRoom = (file: MachOFile): number => Math.max(0, commandsLimit(file) - commandsEnd(file));

/** Where the commands end, as they are now. */
export const commandsEnd = (file: MachOFile): number =>
  file.commands.reduce((end, command) => end + commandSize(command), mach_header_64.size);

/** Where the commands ended when the file was read. */
export const commandsEndAsRead = ({ header }: MachOFile): number => mach_header_64.size + header.sizeofcmds;

/** cmdsize, as it is now. */
export const commandSize = (command: LoadCommand): number =>
  isSegment(command)
    ? segment_command_64.size + command.sections.length * section_64.size
    : command.bytes.length;

/** Where the commands must end: at the first thing that is no zero, or is in the file for other reasons. */
export function commandsLimit(file: MachOFile): number {
  const first = firstContent(file);
  const start = commandsEndAsRead(file);
  const around = segmentsOf(file).find(
    ({ fileoff, filesize }) => fileoff <= start && start < fileoff + filesize,
  );
  return around ? firstNonZero(around, start, first) : first;
}

/** The lowest offset of a section, of a segment without the header, of a part of __LINKEDIT or of kept bytes. */
function firstContent(file: MachOFile): number {
  let first = Number.POSITIVE_INFINITY;
  const see = (offset: number | undefined): void => {
    if (offset !== undefined && offset > 0) first = Math.min(first, offset);
  };
  for (const segment of segmentsOf(file)) {
    if (segment.filesize > 0) see(segment.fileoff);
    for (const section of segment.sections)
      if (!isZeroFill(section) && section.size > 0n) see(section.offset);
  }
  for (const { offset } of file.linkedit) see(offset);
  for (const { offset } of file.kept) see(offset);
  return first;
}

const CHUNK = 0x1_0000;

function firstNonZero({ fileoff, filesize, contents }: SegmentCommand, from: number, to: number): number {
  const end = Math.min(to, fileoff + filesize);
  for (let at = from; contents && at < end; at += CHUNK) {
    const bytes = readContents(contents, at - fileoff, Math.min(CHUNK, end - at));
    const found = bytes.findIndex(byte => byte !== 0);
    if (found >= 0) return at + found;
  }
  return to;
}
