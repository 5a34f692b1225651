import {
  type ElfFile,
  type ElfSection,
  type ElfSegment,
  hasFileBytes,
  PT,
  SHF,
  SHT,
  sectionSize,
} from '../../../formats/elf/index.ts';
import { SourceSlice } from '../../../formats/source.ts';
import { writeSparse } from '../../elf/write-sparse.ts';
import { PAGE } from '../../image.ts';
import { joinStretches } from '../../stretches.ts';
import type { TargetFile } from '../../target-file.ts';
import { dumpSegment, type Patch, plainPointers, type SegmentJob } from '../restart/dump-segment.ts';
import { endOfContents } from '../restart/end-of-contents.ts';
import type { Run } from '../restart/found-pointers.ts';
import type { WrittenSegmentReport } from '../restart/written-segment.ts';
import { type PlacedTable, placeTables, placeUnloaded } from './place-parts.ts';
import type { DumpedSegment } from './territory.ts';

export interface FilePlan {
  readonly file: ElfFile;
  readonly first: Run;
  readonly dumped: readonly DumpedSegment[];
  /** Pointers into the program in dumped memory: offsets in the segment, by its index, as all that follows. */
  readonly found: ReadonlyMap<number, Float64Array>;
  readonly nulled: ReadonlyMap<number, Float64Array>;
  readonly patches: ReadonlyMap<number, readonly Patch[]>;
  /** Index of the segment that the reserve is; its section shrinks to what is stored. */
  readonly heap: number | undefined;
  readonly tables: readonly PlacedTable[];
  /** The segment of the tables. */
  readonly tablesSegment: ElfSegment | undefined;
  /** Bytes written, and in all. */
  readonly onProgress: (done: number, total: number) => void;
}

/** Writes the file; the program headers have room for all segments already. */
export async function writeRestartFile(
  plan: FilePlan,
  target: TargetFile,
): Promise<{ size: number; segments: WrittenSegmentReport[] }> {
  const { file, first, dumped } = plan;
  const original = file.source;
  if (original === undefined) throw new TypeError('a file that was read has a source');

  // 1. Dumped segments keep their offsets, or get one; everything behind the first of them makes room.
  const firstOffset = Math.min(
    ...dumped.filter(({ segment }) => segment.fileSize > 0).map(({ segment }) => segment.offset),
  );
  const jobs: { index: number; segment: ElfSegment; job: SegmentJob }[] = [];
  let end = endOfFixed(plan, firstOffset);
  for (const { index, segment, size, kept } of dumped) {
    const used = endOfContents(first.image, segment.address + first.slide, size);
    const fileSize = storedSize(file, segment, used, index === plan.heap);
    const lead = Number(segment.address % BigInt(PAGE));
    const staysPut = segment.fileSize > 0 && index !== plan.heap;
    const offset = staysPut ? segment.offset : roundUp(end, Math.max(segment.align, PAGE)) + lead;
    const own =
      fileSize === 0 ? [] : [jobOf(plan, { index, segment, size, kept }, original, offset, fileSize, lead)];
    settle(file, segment, offset, fileSize, index === plan.heap);
    jobs.push(...own.map(job => ({ index, segment, job })));
    end = Math.max(end, roundUp(offset + fileSize, PAGE));
  }

  // 2. Their contents. Process and executable are read for the last time.
  const total = jobs.reduce((sum, { job }) => sum + job.filesize, 0);
  let done = 0;
  const stored = new Map<number, number>();
  for (const { index, job } of jobs) {
    const written = await dumpSegment(job, target.handle, bytes => {
      done += bytes;
      plan.onProgress(done, total);
    });
    stored.set(index, written);
  }

  // 3. Tables, then what is not loaded, then the section headers.
  end = placeTables(plan, end);
  placeUnloaded(file, firstOffset, end);
  const size = await writeSparse(file, target.handle);
  const segments = dumped.map(({ index, segment }) => ({
    name: nameOf(file, segment),
    address: segment.address,
    memory: segment.memorySize,
    file: segment.fileSize,
    stored: stored.get(index) ?? 0,
  }));
  return { size, segments };
}

/** Where the file's own parts end that do not move: everything that is loaded, and the program headers. */
function endOfFixed({ file, dumped, heap, tablesSegment }: FilePlan, firstOffset: number): number {
  const ends = file.segments.flatMap((segment, index) => {
    if (segment.type !== PT.PT_LOAD || segment === tablesSegment || index === heap) return [];
    const isDumped = dumped.some(own => own.index === index);
    if (isDumped && segment.fileSize === 0) return [];
    return [segment.offset + (isDumped ? segment.memorySize : segment.fileSize)];
  });
  return roundUp(Math.max(firstOffset, ...ends), PAGE);
}

/** To the last byte that is not zero, and to the end of every section begun before that. */
function storedSize(file: ElfFile, segment: ElfSegment, used: number, isHeap: boolean): number {
  let end = Math.max(segment.fileSize, used);
  if (isHeap) return end;
  for (const section of sectionsIn(file, segment)) {
    const start = Number(section.address - segment.address);
    if (start < end) end = Math.max(end, start + sectionSize(section));
  }
  return end;
}

/** Sections with memory in the segment, by address. Zero-fill of thread-local templates has none. */
function sectionsIn(file: ElfFile, { address, memorySize }: ElfSegment): ElfSection[] {
  return file.sections
    .filter(
      section =>
        (section.flags & SHF.SHF_ALLOC) !== 0 &&
        !((section.flags & SHF.SHF_TLS) !== 0 && section.type === SHT.SHT_NOBITS) &&
        section.address >= address &&
        section.address < address + BigInt(memorySize),
    )
    .sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** What .bss is called once it has bytes. */
const DUMPED_BSS = '.unexec.bss';

/** Headers of a dumped segment and of its sections, whose bytes the caller writes. */
function settle(file: ElfFile, segment: ElfSegment, offset: number, fileSize: number, isHeap: boolean): void {
  for (const section of sectionsIn(file, segment)) {
    const start = Number(section.address - segment.address);
    if (isHeap && section.type !== SHT.SHT_NULL) {
      section.type = fileSize > start ? SHT.SHT_PROGBITS : SHT.SHT_NOBITS;
      section.size = fileSize > start ? fileSize - start : segment.memorySize - start;
      section.offset = offset + start;
      section.contents = undefined;
      continue;
    }
    if (section.type === SHT.SHT_NOBITS && start < fileSize) {
      section.type = SHT.SHT_PROGBITS;
      // By its old name a section is expected to have no bytes (gABI, special sections).
      section.name = DUMPED_BSS;
      section.nameOffset = undefined;
    }
    section.size = sectionSize(section);
    section.offset = offset + start;
    if (hasFileBytes(section)) section.contents = undefined;
  }
  segment.offset = offset;
  segment.fileSize = fileSize;
}

/**
 * A job begins with the page in which the segment begins: what of that page belongs to the segment before comes
 * from the file.
 */
function jobOf(
  { first, found, nulled, patches }: FilePlan,
  { index, segment, size, kept }: DumpedSegment,
  original: NonNullable<ElfFile['source']>,
  offset: number,
  fileSize: number,
  lead: number,
): SegmentJob {
  const moved = (offsets: Float64Array | undefined): Float64Array =>
    (offsets ?? new Float64Array()).map(at => at + lead);
  const inFile =
    segment.fileSize > 0 ? Math.min(lead + segment.fileSize, original.size - (segment.offset - lead)) : 0;
  const before = segment.fileSize > 0 ? lead : 0;
  const memory = {
    reader: first.image.memory,
    address: segment.address + first.slide - BigInt(lead),
    size: lead + Math.min(size, fileSize),
  };
  return {
    filesize: roundUp(lead + fileSize, PAGE),
    fileoff: offset - lead,
    memory,
    contents: inFile > 0 ? new SourceSlice(original, segment.offset - lead, inFile) : new Uint8Array(),
    kept: joinStretches([
      { start: 0, end: before },
      ...kept.map(({ start, end }) => ({ start: start + lead, end: end + lead })),
    ]),
    pointers: plainPointers(moved(found.get(index)), first.slide, memory),
    nulled: moved(nulled.get(index)),
    patches: (patches.get(index) ?? []).map(patch => ({ ...patch, offset: patch.offset + lead })),
  };
}

const nameOf = (file: ElfFile, segment: ElfSegment): string => {
  const names = sectionsIn(file, segment).map(({ name }) => name);
  return names.length > 2 ? `${names[0]} to ${names.at(-1)}` : names.join(', ') || 'segment';
};

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
