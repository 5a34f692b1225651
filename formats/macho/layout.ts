/**
 * Computes what the model leaves open: the counts of the header, the sizes of load commands, the place of
 * every part of __LINKEDIT that has none, and the fields that say where they are. Segments keep their
 * offsets, which their addresses and fixups depend on; a file that was read comes out as it was.
 *
 * @module
 */
import { type Contents, contentsSize, sliceContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { joinParts, type LayoutPart, MACHO, partOf, tablePart } from '../parts.ts';
import { MH_MAGICS } from './constants.ts';
import { encodeSegment } from './encode-segment.ts';
import { segmentsOf } from './find.ts';
import { commandsEnd, commandsEndAsRead, commandsLimit } from './header-room.ts';
import { withPlaces } from './linkedit.ts';
import { isSegment, type LinkeditKind, type MachOFile, type SegmentCommand } from './model.ts';
import { type BlobPlace, type LinkeditPlaces, placeLinkedit } from './place.ts';
import { LE, mach_header_64 } from './structs.ts';

/** A file with nothing left open. */
export interface MachOLayout {
  readonly header: mach_header_64;
  /** The load commands as they are in the file, in order. */
  readonly commands: readonly Uint8Array[];
  /** Where each part of __LINKEDIT is. */
  readonly linkedit: ReadonlyMap<LinkeditKind, BlobPlace>;
  /** What the file is made of, in order of offset; between them is nothing, which reads as zero. */
  readonly parts: readonly LayoutPart[];
  /** Bytes in the file, external contents included. */
  readonly size: number;
}

/**
 * The layout of a file; the file is not changed.
 *
 * @throws FormatError `MACHO_NO_HEADER_ROOM` where the commands have grown into what follows them,
 *   `MACHO_OVERLAP` where two things would be at one place, `MACHO_TOO_LARGE` for what a field cannot hold,
 *   and others for a model that contradicts itself
 */
export function layoutMachO(file: MachOFile): MachOLayout {
  const places = placeLinkedit(file);
  const commands = encodeCommands(file, places);
  const end = checkRoom(file);
  const { cputype, cpusubtype, filetype, flags, reserved } = file.header;
  const header: mach_header_64 = {
    magic: MH_MAGICS.MH_MAGIC_64,
    cputype,
    cpusubtype,
    filetype,
    ncmds: commands.length,
    sizeofcmds: end - mach_header_64.size,
    flags,
    reserved,
  };

  // From here on every field is final.
  const covered = Math.max(end, commandsEndAsRead(file));
  const parts = joinParts(MACHO, file.source, [
    tablePart(file.source, 'the header', 0, concat([mach_header_64.encode(header, LE), ...commands])),
    ...segmentsOf(file).flatMap((segment, index) => segmentPart(segment, index, covered)),
    ...places.parts,
    ...file.kept.map(({ offset, contents }) => partOf('bytes of no segment', offset, contents)),
  ]);
  const last = parts.at(-1);
  const size = last ? last.offset + last.size : 0;
  return { header, commands, linkedit: places.blobs, parts, size };
}

function encodeCommands(file: MachOFile, places: LinkeditPlaces): Uint8Array[] {
  const linkedit = segmentsOf(file).find(({ segname }) => segname === '__LINKEDIT');
  const described = new Set<LinkeditKind>();
  const commands = file.commands.map(command => {
    if (!isSegment(command)) return withPlaces(command, places.blobs, described);
    return encodeSegment(command === linkedit ? { ...command, ...places.segment } : command);
  });
  for (const { kind } of file.linkedit) {
    if (described.has(kind)) continue;
    const message = `Mach-O: no load command says where ${kind} is, expected one`;
    throw new FormatError('MACHO_NO_COMMAND', message, { value: kind });
  }
  return commands;
}

/** Where the commands end; they may only have grown into zeros. */
function checkRoom(file: MachOFile): number {
  const end = commandsEnd(file);
  if (end <= commandsEndAsRead(file)) return end;
  const limit = commandsLimit(file);
  if (end <= limit) return end;
  throw new FormatError(
    'MACHO_NO_HEADER_ROOM',
    `Mach-O: the load commands end at ${hex(end)}, expected at most ${hex(limit)}, where the file's contents begin (linking with -headerpad leaves more room)`,
    { offset: limit, value: end },
  );
}

/** What a segment has in the file beyond the header, which the first one contains. */
function segmentPart(segment: SegmentCommand, index: number, headerEnd: number): LayoutPart[] {
  const { segname, fileoff, filesize, contents } = segment;
  const what = `segment ${index} (${segname})`;
  if (contents && contentsSize(contents) !== filesize) {
    throw new FormatError(
      'MACHO_BAD_SEGMENT',
      `Mach-O: ${what} has contents of ${hex(contentsSize(contents))} bytes, expected its filesize of ${hex(filesize)}`,
      { offset: fileoff, value: filesize },
    );
  }
  // The parts of __LINKEDIT are parts of the file by themselves.
  if (!contents && segname === '__LINKEDIT') return [];
  const skipped = Math.max(0, headerEnd - fileoff);
  if (filesize <= skipped) return [];
  const rest: Contents | undefined = contents && sliceContents(contents, skipped, filesize - skipped);
  return [{ what, offset: fileoff + skipped, size: filesize - skipped, contents: rest }];
}

function concat(arrays: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(arrays.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const array of arrays) {
    bytes.set(array, at);
    at += array.length;
  }
  return bytes;
}
