/**
 * Writes the file that the plan describes: dumped segments are streamed to their places, then the commands,
 * __LINKEDIT and everything else around them; last the signature.
 *
 * @module
 */
import { basename } from 'node:path';
import { hex } from '../../../formats/errors.ts';
import {
  addNote,
  DYLD_CHAINED_PTR,
  type FileFixups,
  findBlob,
  findCommands,
  findSegment,
  headerRoom,
  LC,
  type MachOFile,
  type MachOSection,
  note_command,
  pageSizeOf,
  readChainedFixups,
  readNotes,
  relayLinkedit,
  removeCommand,
  segmentsOf,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { type Reason, UnexecError } from '../../errors.ts';
import type { Reserve } from '../../macho/reserve.ts';
import { signatureFacts, signatureRoom, writeSigned } from '../../macho/write-signed.ts';
import type { TargetFile } from '../../target-file.ts';
import { NOTES_OFFSET, NOTES_ROOM, type StartedZone } from '../../zones/reserve.ts';
import { dumpSegment, type Patch, plainPointers, type SegmentJob } from '../restart/dump-segment.ts';
import { endOfContents } from '../restart/end-of-contents.ts';
import type { Run } from '../restart/found-pointers.ts';
import type { WrittenSegmentReport } from '../restart/written-segment.ts';
import { allOffsets, type ChainEncoding, ChainWriter, chainedPages } from './chain-writer.ts';
import { setChains, setOpcodes } from './fixup-blobs.ts';
import type { SegmentFixups } from './fixup-plan.ts';
import type { SettledInitialisers } from './initialisers.ts';
import { NOTE_OWNER } from './notes.ts';
import { nameOfPlace } from './place-name.ts';
import { type PlacedSegment, placeSegments } from './segments.ts';
import type { DumpedSegment } from './territory.ts';

export interface FilePlan {
  readonly file: MachOFile;
  readonly fixups: FileFixups;
  readonly first: Run;
  readonly dumped: readonly DumpedSegment[];
  /** By index of the segment, as all that follows. */
  readonly plan: readonly SegmentFixups[];
  readonly nulled: ReadonlyMap<number, Float64Array>;
  readonly patches: ReadonlyMap<number, readonly Patch[]>;
  readonly initialisers: readonly SettledInitialisers[];
  readonly reserve: Reserve | undefined;
  readonly zone: StartedZone | undefined;
  /** Bytes written, and in all. */
  readonly onProgress: (done: number, total: number) => void;
}

/** @throws UnexecError `POINTER_UNALIGNED`, `IMAGE_TOO_LARGE`; FormatError */
export async function writeRestartFile(
  filePlan: FilePlan,
  target: TargetFile,
): Promise<{ size: number; segments: WrittenSegmentReport[] }> {
  const { file, first, initialisers } = filePlan;
  const page = pageSizeOf(file.header);
  const signature = signatureFacts(file, basename(target.path));
  const chained = chainEncoding(filePlan);
  if (chained !== undefined) checkChainable(filePlan, chained);

  // 1. Segments get their places.
  settleSections(file, initialisers);
  const placed = placeSegments(
    file,
    filePlan.dumped,
    heapOf(filePlan),
    ({ segment, size }) => endOfContents(first.image, segment.vmaddr + first.slide, size),
    page,
  );

  // 2. Their contents are streamed there. Process and executable are read for the last time.
  const jobs = placed.flatMap(segment => jobOf(filePlan, segment, chained));
  const total = jobs.reduce((sum, { job }) => sum + job.filesize, 0);
  let done = 0;
  const pageStarts = new Map<number, Uint16Array>();
  const stored = new Map<number, number>();
  for (const { index, job, chain } of jobs) {
    const written = await dumpSegment(job, target.handle, bytes => {
      done += bytes;
      filePlan.onProgress(done, total);
    });
    stored.set(index, written);
    if (chain !== undefined) pageStarts.set(index, chain.pageStarts);
  }

  // 3. The commands, and __LINKEDIT behind it all.
  const rewritten = new Set(jobs.map(({ index }) => index));
  for (const { index, before, after } of placed) {
    Object.assign(before, rewritten.has(index) ? { ...after, contents: undefined } : after);
  }
  if (chained !== undefined) setChains(file, pageStarts, chained.pageSize);
  else if (filePlan.fixups.style === 'dyld-info') setOpcodes(file, filePlan.plan);
  setNote(filePlan);
  const end = placed.reduce((most, { after }) => Math.max(most, after.fileoff + after.filesize), 0);
  relayLinkedit(file, Math.ceil(end / page) * page);
  const size = await writeSigned(file, target.handle, target.temporaryPath, signature);
  const segments = placed.map(({ index, after }) => ({
    name: after.segname,
    address: after.vmaddr,
    memory: Number(after.vmsize),
    file: after.filesize,
    stored: stored.get(index) ?? after.filesize,
  }));
  return { size, segments };
}

/** How the file chains its pointers; undefined where it does not. */
function chainEncoding({ file, fixups }: FilePlan): ChainEncoding | undefined {
  const blob = findBlob(file, 'chained-fixups');
  if (fixups.style !== 'chained' || blob === undefined) return undefined;
  const present = readChainedFixups(wholeContents(blob.contents)).segments.find(
    starts => starts !== undefined,
  );
  const isOffset = fixups.pointerFormat === DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET;
  return {
    pageSize: present?.pageSize ?? pageSizeOf(file.header),
    targetBase: isOffset ? (findSegment(file, '__TEXT')?.vmaddr ?? 0n) : 0n,
  };
}

const MAX_CHAINED_PAGES = 0xffff;

/** Chains hold pointers at multiples of 4 bytes that do not lie across pages, on 65,535 pages a segment. */
function checkChainable({ file, plan }: FilePlan, { pageSize }: ChainEncoding): void {
  const reasons: Reason[] = [];
  for (const [index, { vmaddr, segname }] of segmentsOf(file).entries()) {
    const fixups = plan[index];
    if (fixups === undefined) continue;
    const written = [
      ...unchainable(fixups.dumped, pageSize),
      ...unchainable(
        fixups.added.map(({ offset }) => offset),
        pageSize,
      ),
    ];
    for (const offset of written) {
      reasons.push({
        code: 'POINTER_UNALIGNED',
        what: `the pointer at ${nameOfPlace(file, vmaddr + BigInt(offset))} is at no multiple of 4 bytes, or across two pages`,
        remedy: 'link the program with -Wl,-no_fixup_chains',
      });
    }
    if (chainedPages(allOffsets(fixups), pageSize) > MAX_CHAINED_PAGES) {
      reasons.push({
        code: 'TOO_MANY_PAGES',
        what: `segment ${segname} has pointers beyond its first ${MAX_CHAINED_PAGES} pages of ${hex(pageSize)} bytes, the most on which chains can begin`,
        remedy: 'link the program with -Wl,-no_fixup_chains, or keep less in it',
      });
    }
  }
  if (reasons.length === 0) return;
  throw new UnexecError(
    'CANNOT_BE_CHAINED',
    'LC_DYLD_CHAINED_FIXUPS cannot hold every pointer of the program',
    { reasons },
  );
}

/** Of each segment, the first few of the offsets that a chain cannot hold. */
function unchainable(offsets: ArrayLike<number>, pageSize: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < offsets.length && found.length < MOST_UNALIGNED; i++) {
    const offset = offsets[i] ?? 0;
    if (offset % 4 !== 0 || offset % pageSize > pageSize - 8) found.push(offset);
  }
  return found;
}

const MOST_UNALIGNED = 20;

/** Puts changed sections of initialisers in the place of the old ones. */
function settleSections(file: MachOFile, initialisers: readonly SettledInitialisers[]): void {
  const changed = new Map<MachOSection, MachOSection>(
    initialisers.map(settled => [settled.section, settled.changed]),
  );
  for (const segment of segmentsOf(file)) {
    segment.sections = segment.sections.map(section => changed.get(section) ?? section);
  }
}

const heapOf = ({ reserve, zone }: FilePlan) =>
  reserve?.base === undefined
    ? undefined
    : { base: reserve.base, size: reserve.size, highWater: zone?.highWater ?? 0 };

/** What is to be written of a segment; nothing where it stays as it is. */
function jobOf(
  { plan, patches, nulled, first, fixups }: FilePlan,
  { index, before, after, dumped }: PlacedSegment,
  chained: ChainEncoding | undefined,
): { index: number; job: SegmentJob; chain: ChainWriter | undefined }[] {
  const patched = patches.get(index) ?? [];
  const none: SegmentFixups = {
    dumped: new Float64Array(),
    kept: new Float64Array(),
    bound: new Float64Array(),
    added: [],
  };
  if (dumped === undefined && patched.length === 0) return [];
  const address = before.vmaddr + first.slide;
  const memory = dumped && { reader: first.image.memory, address, size: dumped.size };
  const own = (fixups.style === 'none' ? undefined : plan[index]) ?? none;
  const chain = chained && new ChainWriter(own, first.slide, chained);
  const job: SegmentJob = {
    filesize: after.filesize,
    fileoff: after.fileoff,
    memory,
    contents: before.contents ?? new Uint8Array(),
    kept: dumped?.kept ?? [{ start: 0, end: after.filesize }],
    pointers: chain ?? plainPointers(own.dumped, first.slide, memory),
    nulled: nulled.get(index) ?? new Float64Array(),
    patches: patched,
  };
  return [{ index, job, chain }];
}

/** Names the place of the notes where it can; they are found by the reserve in any case. */
function setNote({ file, reserve, zone }: FilePlan): void {
  const old = readNotes(file).findIndex(({ owner }) => owner === NOTE_OWNER);
  const command = findCommands(file, LC.LC_NOTE)[old];
  if (command !== undefined) removeCommand(file, command);
  if (reserve?.base === undefined || zone === undefined) return;
  const base = reserve.base;
  const segment = segmentsOf(file).find(({ vmaddr, vmsize }) => base >= vmaddr && base < vmaddr + vmsize);
  const notes = base + BigInt(NOTES_OFFSET);
  // Where a section covers them (add-reserve.ts), no LC_NOTE may overlap it.
  const isCovered = segment?.sections.some(
    ({ addr, size }) => addr < notes + BigInt(NOTES_ROOM) && addr + size > notes,
  );
  const hasRoom = headerRoom(file) >= note_command.size + signatureRoom(file);
  if (segment === undefined || isCovered || !hasRoom) return;
  const offset = segment.fileoff + Number(notes - segment.vmaddr);
  addNote(file, { owner: NOTE_OWNER, offset, size: NOTES_ROOM });
}
