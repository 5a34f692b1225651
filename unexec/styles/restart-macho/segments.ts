/**
 * The segments of the new file: dumped ones hold in the file what they hold in memory, up to the last byte
 * that is not zero, so what was zero-fill becomes regular; those after them move. A page of the file is
 * a page of memory (xnu maps whole pages and does not clear the tail of the last one), so sizes are
 * rounded up to pages. Facts: mach-o/loader.h, xnu-11417 bsd/kern/mach_loader.c.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import {
  type MachOFile,
  type MachOSection,
  S,
  type SegmentCommand,
  segmentsOf,
} from '../../../formats/macho/index.ts';
import { UnexecError } from '../../errors.ts';
import { BLOCKS_OFFSET } from '../../zones/reserve.ts';
import { type DumpedSegment, sectionType } from './territory.ts';

/** What is known of the reserve and its zone; addresses of the file. */
export interface Heap {
  readonly base: bigint;
  /** Bytes. */
  readonly size: number;
  /** Bytes from `base` that are in use; 0: no zone was started. */
  readonly highWater: number;
}

/** A segment as it was, and as it will be. */
export interface PlacedSegment {
  /** Among all segments. */
  readonly index: number;
  readonly before: SegmentCommand;
  /** Without contents where they are dumped: they are streamed to `fileoff`. */
  readonly after: SegmentCommand;
  readonly dumped: DumpedSegment | undefined;
}

/**
 * Places all segments but __LINKEDIT, which comes after them.
 *
 * @param endOfContents bytes from the start of a dumped segment's memory to its last byte that is not zero
 * @throws UnexecError `IMAGE_TOO_LARGE`: file offsets in Mach-O commands have 32 bits
 */
export function placeSegments(
  file: MachOFile,
  dumped: readonly DumpedSegment[],
  heap: Heap | undefined,
  endOfContents: (segment: DumpedSegment) => number,
  page: number,
): PlacedSegment[] {
  const placed: PlacedSegment[] = [];
  let end = 0;
  const segments = segmentsOf(file)
    .map((segment, index) => ({ segment, index }))
    .filter(({ segment }) => segment.segname !== '__LINKEDIT');
  for (const { segment, index } of segments) {
    const own = dumped.find(candidate => candidate.index === index);
    const filesize = own === undefined ? segment.filesize : storedSize(own, heap, endOfContents(own), page);
    // What holds no bytes is nowhere, and what nothing pushes stays where it was.
    const fileoff =
      filesize === 0 ? Math.min(segment.fileoff, end) : Math.max(segment.fileoff, roundUp(end, page));
    if (fileoff + filesize > MAX_OFFSET) throw tooLarge(segment, fileoff + filesize);
    placed.push({ index, before: segment, after: moved(segment, own, fileoff, filesize, heap), dumped: own });
    end = Math.max(end, fileoff + filesize);
  }
  return placed;
}

const MAX_OFFSET = 0xffff_ffff;

/**
 * The end of what the file holds already, of what memory holds, of the room for our notes, and of every section
 * begun before that.
 */
function storedSize(
  dumped: DumpedSegment,
  heap: Heap | undefined,
  endOfContents: number,
  page: number,
): number {
  const { segment } = dumped;
  let end = Math.max(segment.filesize, endOfContents);
  if (holds(segment, heap) && heap.highWater > 0) {
    end = Math.max(end, Number(heap.base - segment.vmaddr) + BLOCKS_OFFSET);
  }
  const sections = segment.sections.toSorted((a, b) => Number(a.addr - b.addr));
  for (const section of sections) {
    const start = Number(section.addr - segment.vmaddr);
    if (start < end) end = Math.max(end, Math.min(start + sizeInUse(section, heap), dumped.size));
  }
  return roundUp(end, page);
}

function moved(
  segment: SegmentCommand,
  dumped: DumpedSegment | undefined,
  fileoff: number,
  filesize: number,
  heap: Heap | undefined,
): SegmentCommand {
  const shift = fileoff - segment.fileoff;
  if (dumped === undefined) {
    return { ...segment, fileoff, sections: segment.sections.map(section => shifted(section, shift)) };
  }
  const owner = heapSection(segment, heap);
  const sections = segment.sections.map(section => {
    const start = Number(section.addr - segment.vmaddr);
    const size = section === owner ? BigInt(Math.max(filesize - start, 0)) : section.size;
    if (!isZeroFill(section)) return shifted({ ...section, size }, shift);
    if (start >= filesize) return section;
    return { ...section, size, offset: fileoff + start, flags: (section.flags & ~0xff) | S.S_REGULAR };
  });
  const vmsize = BigInt(Math.max(Number(segment.vmsize), filesize));
  return { ...segment, fileoff, filesize, vmsize, sections, contents: undefined };
}

/** Bytes of a section that are to be kept: the reserve beyond its high-water mark is not. */
function sizeInUse(section: MachOSection, heap: Heap | undefined): number {
  if (heap === undefined || !reachesIntoReserve(section, heap)) return Number(section.size);
  return Math.max(0, Number(heap.base - section.addr) + heap.highWater);
}

/**
 * The section that the heap is in, or that grows over it: tools expect every fixup inside a section. None
 * where the last one cannot grow, being the template of thread-local variables.
 */
function heapSection(segment: SegmentCommand, heap: Heap | undefined): MachOSection | undefined {
  if (!holds(segment, heap)) return undefined;
  const last = segment.sections.toSorted((a, b) => (a.addr < b.addr ? -1 : 1)).at(-1);
  if (last === undefined || reachesIntoReserve(last, heap)) return last;
  return sectionType(last) === S.S_REGULAR ? last : undefined;
}

const holds = ({ vmaddr, vmsize }: SegmentCommand, heap: Heap | undefined): heap is Heap =>
  heap !== undefined && heap.base >= vmaddr && heap.base < vmaddr + vmsize;

/** Before a dump the section has all of the reserve, after one what is stored of it. */
const reachesIntoReserve = ({ addr, size }: MachOSection, heap: Heap | undefined): boolean =>
  heap !== undefined && addr < heap.base + BigInt(heap.size) && addr + size > heap.base;

/** Thread-local zero-fill stays: it is the tail of a template. */
const isZeroFill = (section: MachOSection): boolean =>
  sectionType(section) === S.S_ZEROFILL || sectionType(section) === S.S_GB_ZEROFILL;

/** Sections without bytes in the file have offset 0, which stays. */
const shifted = (section: MachOSection, shift: number): MachOSection =>
  section.offset === 0 ? section : { ...section, offset: section.offset + shift };

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

const tooLarge = ({ segname }: SegmentCommand, end: number): UnexecError =>
  new UnexecError(
    'IMAGE_TOO_LARGE',
    `segment ${segname} would end at ${hex(end)} in the file, expected at most ${hex(MAX_OFFSET)}: Mach-O's file offsets have 32 bits`,
    { hint: 'freeze with less in the zone, or in variables' },
  );
