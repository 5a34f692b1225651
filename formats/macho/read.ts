/**
 * Reads a 64-bit Mach-O file into the model. Header and load commands are read now, contents when they
 * are asked for. What is not understood is kept: `writeMachO(layoutMachO(readMachO(x)))` is `x`.
 * `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import { contentsSize } from '../contents.ts';
import { FormatError, hex, toNumber } from '../errors.ts';
import { nameOf } from '../names.ts';
import { type ByteSource, bytesSource, SourceSlice } from '../source.ts';
import { viewOf } from '../struct.ts';
import { LC } from './constants.ts';
import { type Extent, sliceOf, uncovered } from './extents.ts';
import { modelHeader, readHeader } from './header.ts';
import { readLinkedit } from './linkedit.ts';
import {
  isSegment,
  type LoadCommand,
  type MachOFile,
  type MachOSection,
  type SegmentCommand,
} from './model.ts';
import { decodeName } from './names.ts';
import { LE, load_command, mach_header_64, section_64, segment_command_64 } from './structs.ts';

/**
 * The file as a model, contents still in the source. `offset`: where in `input` it begins.
 *
 * @throws FormatError `MACHO_BAD_MAGIC`, `MACHO_FAT`, `MACHO_UNSUPPORTED_32BIT`,
 *   `MACHO_UNSUPPORTED_BIG_ENDIAN`, `MACHO_UNSUPPORTED_CPU`, `MACHO_TRUNCATED`, `MACHO_BAD_COMMANDS`,
 *   `MACHO_BAD_COMMAND`, `MACHO_DUPLICATE_COMMAND`, `MACHO_TOO_MANY_SECTIONS`
 */
export function readMachO(input: ByteSource | Uint8Array, offset = 0): MachOFile {
  const whole = input instanceof Uint8Array ? bytesSource(input) : input;
  const source = offset === 0 ? whole : new SourceSlice(whole, offset, whole.size - offset);
  const header = readHeader(source);
  const commands = readCommands(source, header);
  const file: MachOFile = {
    header: modelHeader(header),
    commands,
    linkedit: readLinkedit(source, commands),
    kept: [],
    source,
  };
  file.kept = uncovered(source, extentsOf(file));
  return file;
}

function readCommands(source: ByteSource, { ncmds, sizeofcmds }: mach_header_64): LoadCommand[] {
  // A copy: what a source gives may be shared, and commands outlive it.
  const bytes = source.read(mach_header_64.size, sizeofcmds).slice();
  const view = viewOf(bytes);
  const commands: LoadCommand[] = [];
  let sections = 0;
  let at = 0;
  for (let i = 0; i < ncmds; i++) {
    const left = sizeofcmds - at;
    const { cmd, cmdsize } = left < load_command.size ? NONE : load_command.read(view, at, LE);
    const what = `load command ${i}${cmd === 0 ? '' : ` (${nameOf(LC, cmd)})`}`;
    if (cmdsize < load_command.size || cmdsize > left || cmdsize % 4 !== 0) {
      throw new FormatError(
        'MACHO_BAD_COMMAND',
        `Mach-O: cmdsize of ${what} is ${hex(cmdsize)} at ${hex(mach_header_64.size + at)}, expected a multiple of 4, of 8 to ${hex(left)}`,
        { offset: mach_header_64.size + at, value: cmdsize },
      );
    }
    const command = bytes.subarray(at, at + cmdsize);
    if (cmd === LC.LC_SEGMENT_64) {
      const segment = segmentOf(source, command, what);
      sections += segment.sections.length;
      if (sections > MAX_SECTIONS) throw tooManySections(what, sections);
      commands.push(segment);
    } else commands.push({ cmd, bytes: command });
    at += cmdsize;
  }
  if (at !== sizeofcmds) {
    throw new FormatError(
      'MACHO_BAD_COMMANDS',
      `Mach-O: sizeofcmds is ${hex(sizeofcmds)}, expected ${hex(at)} as its ${ncmds} commands have`,
      { offset: mach_header_64.offsets.sizeofcmds, value: sizeofcmds },
    );
  }
  // Its bytes are the parts of `linkedit`.
  const linkedit = commands.find(command => isSegment(command) && command.segname === '__LINKEDIT');
  if (linkedit && isSegment(linkedit)) linkedit.contents = undefined;
  return commands;
}

const NONE: load_command = { cmd: 0, cmdsize: 0 };

/** A symbol can only name 255 (MAX_SECT); far more would only cost time in all that looks at each. */
const MAX_SECTIONS = 4096;

const tooManySections = (what: string, count: number): FormatError =>
  new FormatError(
    'MACHO_TOO_MANY_SECTIONS',
    `Mach-O: ${what} is the one with section ${count}, expected at most ${MAX_SECTIONS} in all`,
    { value: count },
  );

function segmentOf(source: ByteSource, bytes: Uint8Array, what: string): SegmentCommand {
  const view = viewOf(bytes);
  const bad = (expected: number): FormatError =>
    new FormatError(
      'MACHO_BAD_COMMAND',
      `Mach-O: cmdsize of ${what} is ${hex(bytes.length)}, expected ${hex(expected)}`,
      { value: bytes.length },
    );
  if (bytes.length < segment_command_64.size) throw bad(segment_command_64.size);
  const { nsects, ...command } = segment_command_64.read(view, 0, LE);
  const size = segment_command_64.size + nsects * section_64.size;
  if (bytes.length !== size) throw bad(size);
  const fileoff = toNumber(`Mach-O: fileoff of ${what}`, command.fileoff);
  const filesize = toNumber(`Mach-O: filesize of ${what}`, command.filesize);
  return {
    cmd: LC.LC_SEGMENT_64,
    segname: decodeName(command.segname),
    vmaddr: command.vmaddr,
    vmsize: command.vmsize,
    fileoff,
    filesize,
    maxprot: command.maxprot,
    initprot: command.initprot,
    flags: command.flags,
    sections: Array.from({ length: nsects }, (_, i) =>
      sectionOf(section_64.read(view, segment_command_64.size + i * section_64.size, LE)),
    ),
    contents: filesize === 0 ? undefined : sliceOf(source, what, { offset: fileoff, size: filesize }),
  };
}

const sectionOf = (section: section_64): MachOSection => ({
  ...section,
  sectname: decodeName(section.sectname),
  segname: decodeName(section.segname),
});

/** Stretches of the file that the model has a place for. */
function extentsOf(file: MachOFile): Extent[] {
  const segments = file.commands.filter(isSegment);
  return [
    { offset: 0, size: mach_header_64.size + file.header.sizeofcmds },
    ...segments.flatMap(({ fileoff, filesize, contents }) =>
      contents ? { offset: fileoff, size: filesize } : [],
    ),
    ...file.linkedit.map(({ offset = 0, contents }) => ({ offset, size: contentsSize(contents) })),
  ];
}
