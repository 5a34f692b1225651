/**
 * Gives a Mach-O program its reserve: a segment `__DATA_HEAP` of zero-fill right before __LINKEDIT, which moves to
 * higher addresses. Where the header has no room for that command (most linkers leave 32 bytes), or fixups no index
 * for one more segment, the last writable segment grows instead, which needs none. The name is not `__DATA`: dyld
 * refuses a second one for files of SDK 26, and LLVM misreads it. The segment comes right before __LINKEDIT's, so the
 * indices that fixups have of the others stay as they are.
 *
 * Its sections: tools expect every fixup in one, LLVM counts the offsets of fixups from the first section of a
 * segment, and what an LC_NOTE names may lie in none (notes.ts, in the restart style). So `__zone` is the head of
 * the zone, nothing covers the notes, and `__heap` is the blocks. Where there would be no room for the LC_NOTE, one
 * section `__heap` covers everything.
 *
 * @module
 */
import { wholeContents } from '../../formats/contents.ts';
import { hex } from '../../formats/errors.ts';
import {
  encodeChainedFixups,
  findBlob,
  fixupStyle,
  headerRoom,
  insertSegment,
  type MachOFile,
  type MachOSection,
  newSection,
  newSegment,
  note_command,
  readChainedFixups,
  S,
  type SegmentCommand,
  SG,
  section_64,
  segment_command_64,
  segmentsOf,
  setBlob,
  VM_PROT,
} from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import { BLOCKS_OFFSET, NOTES_OFFSET, RESERVE_UNIT } from '../zones/reserve.ts';

export const HEAP_SEGMENT = '__DATA_HEAP';
export const HEAP_SECTION = '__heap';
/** Section of what comes before the notes. */
const ZONE_SECTION = '__zone';

/** Bytes of load command that a segment with its section takes. */
const COMMAND_SIZE = segment_command_64.size + section_64.size;
/** What an LC_NOTE and one more section take. */
const NOTE_SIZE = section_64.size + note_command.size;

export type ReserveMode = 'segment' | 'extend';

export interface AddedReserve {
  readonly mode: ReserveMode;
  /** Name of the segment that holds it. */
  readonly segment: string;
  /** Where it begins. */
  readonly base: bigint;
}

/**
 * Adds `size` bytes (a multiple of 16 KiB) to the file in memory; __LINKEDIT is left to be laid out again.
 *
 * @param extend extends the last writable segment even where there is room for a new one
 * @param needed bytes of header that must stay free for other commands
 * @throws UnexecError `NO_LINKEDIT`, `LINKEDIT_NOT_LAST`, `NO_WRITABLE_SEGMENT`, `RESERVE_EXISTS`
 */
export function addReserve(file: MachOFile, size: number, extend: boolean, needed: number): AddedReserve {
  const linkedit = segmentsOf(file).find(({ segname }) => segname === '__LINKEDIT');
  if (linkedit === undefined) {
    throw new UnexecError(
      'NO_LINKEDIT',
      'the program has no segment __LINKEDIT, expected one as ld(1) writes it',
    );
  }
  if (segmentsOf(file).some(({ segname }) => segname === HEAP_SEGMENT)) {
    throw new UnexecError('RESERVE_EXISTS', `the program has a segment ${HEAP_SEGMENT} already`, {
      hint: 'prepare the program as the linker wrote it',
    });
  }
  const above = segmentsOf(file).find(segment => segment !== linkedit && segment.vmaddr > linkedit.vmaddr);
  if (above !== undefined) {
    throw new UnexecError(
      'LINKEDIT_NOT_LAST',
      `segment ${above.segname} at ${hex(above.vmaddr)} lies above __LINKEDIT at ${hex(linkedit.vmaddr)}, which is expected to be the last one`,
      { hint: 'link the program with ld(1) or lld, and without options that place segments' },
    );
  }
  const base = roundUp(linkedit.vmaddr, BigInt(RESERVE_UNIT));
  const hasRoom = headerRoom(file) >= COMMAND_SIZE + needed && isNameable(file, linkedit);
  const mode = extend || !hasRoom ? 'extend' : 'segment';
  const segment =
    mode === 'extend' ? extendSegment(file, base, size) : addSegment(file, base, size, linkedit, needed);
  linkedit.vmaddr = base + BigInt(size);
  return { mode, segment, base };
}

/** Rebase opcodes have four bits for the index of a segment (mach-o/loader.h, REBASE_IMMEDIATE_MASK). */
const NAMEABLE_SEGMENTS = 16;

/** Whether fixups can name a segment that comes right before __LINKEDIT. */
const isNameable = (file: MachOFile, linkedit: SegmentCommand): boolean =>
  fixupStyle(file) !== 'dyld-info' || segmentsOf(file).indexOf(linkedit) < NAMEABLE_SEGMENTS;

function addSegment(
  file: MachOFile,
  base: bigint,
  size: number,
  linkedit: SegmentCommand,
  needed: number,
): string {
  const readWrite = VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_WRITE;
  const section = (sectname: string, start: number, end: number): MachOSection =>
    newSection({
      sectname,
      segname: HEAP_SEGMENT,
      addr: base + BigInt(start),
      size: BigInt(end - start),
      align: Math.log2(RESERVE_UNIT),
      flags: S.S_ZEROFILL,
    });
  const hasNote = headerRoom(file) >= COMMAND_SIZE + NOTE_SIZE + needed;
  const sections = hasNote
    ? [section(ZONE_SECTION, 0, NOTES_OFFSET), section(HEAP_SECTION, BLOCKS_OFFSET, size)]
    : [section(HEAP_SECTION, 0, size)];
  const index = segmentsOf(file).indexOf(linkedit);
  insertSegment(
    file,
    '__LINKEDIT',
    newSegment({
      segname: HEAP_SEGMENT,
      vmaddr: base,
      vmsize: BigInt(size),
      fileoff: linkedit.fileoff,
      maxprot: readWrite,
      initprot: readWrite,
      sections,
    }),
  );
  const chained = findBlob(file, 'chained-fixups');
  if (chained !== undefined) {
    // dyld wants one entry for every segment, __LINKEDIT included.
    const fixups = readChainedFixups(wholeContents(chained.contents));
    setBlob(
      file,
      'chained-fixups',
      encodeChainedFixups({ ...fixups, segments: fixups.segments.toSpliced(index, 0, undefined) }),
    );
  }
  return HEAP_SEGMENT;
}

function extendSegment(file: MachOFile, base: bigint, size: number): string {
  const last = segmentsOf(file)
    .filter(({ segname }) => segname !== '__LINKEDIT')
    .reduce((a, b) => (b.vmaddr > a.vmaddr ? b : a));
  if ((last.initprot & VM_PROT.VM_PROT_WRITE) === 0 || (last.flags & SG.SG_READ_ONLY) !== 0) {
    throw new UnexecError(
      'NO_WRITABLE_SEGMENT',
      `the last segment before __LINKEDIT is ${last.segname}, which is not writable, so it cannot grow, and there is no room for another segment: the header has ${headerRoom(file)} bytes free, expected ${COMMAND_SIZE}, and ${segmentsOf(file).length} segments`,
      { hint: 'link the program with -Wl,-headerpad,0x200' },
    );
  }
  const end = base + BigInt(size);
  last.vmsize = end - last.vmaddr;
  const section = last.sections.toSorted((a, b) => (a.addr < b.addr ? -1 : 1)).at(-1);
  // Only plain zero-fill can grow without bytes in the file; otherwise the dump gives the heap its section.
  if (section !== undefined && (section.flags & 0xff) === S.S_ZEROFILL) section.size = end - section.addr;
  return last.segname;
}

const roundUp = (value: bigint, unit: bigint): bigint => ((value + unit - 1n) / unit) * unit;
