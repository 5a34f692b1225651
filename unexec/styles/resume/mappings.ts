/**
 * Steps that map the regions again: from the image's own file, private and lazy, or as fresh memory; those of a thin
 * image that lie over their files from there, and their own pages on top.
 *
 * @module
 */
import type { BackingFile } from '../../backing-file.ts';
import { type Left, NOTHING_LEFT } from '../../file-pages.ts';
import { endOf, PAGE, type ProcessImage, type Region } from '../../image.ts';
import { isMemoryFile } from '../../linux/regions.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { backingFileSteps } from './backing-files.ts';
import { type Blocks, cutAtBlocks, type Stretch } from './bulk.ts';
import { isStored, mergeRanges, type StoredObject, type StoredSpan } from './contents.ts';
import { type Piece, readContents } from './read-contents.ts';
import { NR } from './system-calls.ts';

const PROT = { READ: 1, WRITE: 2, EXEC: 4, BTI: 0x10 } as const;
const MAP = {
  SHARED: 0x01,
  PRIVATE: 0x02,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  GROWSDOWN: 0x100,
  NORESERVE: 0x4000,
  POPULATE: 0x8000,
} as const;
/** Within a span, zero pages up to this many stay a hole of the file rather than a mapping of their own. */
const HOLE_PAGES = 512;

/** One mmap(2) of the restore program. */
export interface Mapping {
  readonly address: bigint;
  readonly size: number;
  readonly protection: number;
  readonly flags: number;
  /** Undefined: the image's own. */
  readonly file?: BackingFile;
  /** Offset in the file; undefined: anonymous memory. */
  readonly fileOffset: number | undefined;
  readonly name: string;
}

export const protectionOf = (region: Region): number =>
  (region.read ? PROT.READ : 0) |
  (region.write ? PROT.WRITE : 0) |
  (region.execute ? PROT.EXEC : 0) |
  (region.flags.has('bt') ? PROT.BTI : 0);

export const nameOfRegion = (region: Region): string => region.name || region.kind;

/** Regions that are private mappings in the second life. */
export const isPrivate = (region: Region): boolean => !region.shared || isReadOnlyFile(region);

/** A shared mapping of a file that can never be written (no VM_MAYWRITE): the same as a private one. */
const isReadOnlyFile = (region: Region): boolean =>
  region.shared && region.inode !== 0 && !region.write && !region.flags.has('mw') && !isMemoryFile(region); // others may write to it, in the process itself

const growsDown = (region: Region): boolean => region.flags.has('gd');

type Extent = Pick<Stretch, 'start' | 'size'>;

/**
 * The mmap calls for private regions, in the order of their addresses, neighbours joined. `filled`: regions that
 * are fresh memory, whose contents are read in.
 */
export function planMappings(
  image: ProcessImage,
  spans: readonly StoredSpan[],
  blocks: Blocks,
  filled: ReadonlySet<Region>,
  left: Left = NOTHING_LEFT,
): Mapping[] {
  const mappings: Mapping[] = [];
  for (const region of image.regions) {
    if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall' || !isPrivate(region))
      continue;
    const ours = spans.filter(span => span.region === region);
    const mapped = filled.has(region) ? [] : ours;
    for (const mapping of planRegion(region, ours, mapped, left.get(region)?.file, blocks)) {
      const last = mappings.at(-1);
      const joined = last && join(last, mapping);
      if (joined === undefined) mappings.push(mapping);
      else mappings[mappings.length - 1] = joined;
    }
  }
  return mappings;
}

/** `mapped`: those of its spans that are mapped from the image's own file; the others are fresh memory. */
function planRegion(
  region: Region,
  spans: readonly StoredSpan[],
  mapped: readonly StoredSpan[],
  file: BackingFile | undefined,
  blocks: Blocks,
): Mapping[] {
  if (growsDown(region)) return [freshStack(region)];
  if (file !== undefined) {
    const { start, size, offset } = region;
    const whole = { ...commonOf(region), address: start, size, file, fileOffset: offset };
    return [
      whole,
      ...spans.flatMap(span => mapStretch(region, { start: span.address, size: span.size }, mapped)),
    ];
  }
  return cutAtBlocks(region, blocks).flatMap(stretch =>
    stretch.inBlock ? [] : mapStretch(region, stretch, mapped),
  );
}

const commonOf = (region: Region) => ({
  protection: protectionOf(region),
  name: nameOfRegion(region),
  flags: MAP.PRIVATE | MAP.FIXED | (region.flags.has('nr') ? MAP.NORESERVE : 0),
});

function mapStretch(region: Region, stretch: Extent, spans: readonly StoredSpan[]): Mapping[] {
  const common = commonOf(region);
  const pieces = isStored(region) ? spans.flatMap(span => filePieces(span, stretch, HOLE_PAGES)) : [];
  const files = pieces.map(piece => ({ ...common, ...piece }));
  const [only] = files;
  if (only !== undefined && files.length === 1 && only.size === stretch.size) return files;
  const fresh: Mapping = {
    ...common,
    address: stretch.start,
    size: stretch.size,
    flags: common.flags | MAP.ANONYMOUS,
    fileOffset: undefined,
  };
  if (only === undefined) return [fresh];
  if (files.length > 1) return [fresh, ...files];
  // One stretch: memory before and after it, rather than a mapping that is cut in three.
  const before = Number(only.address - stretch.start);
  const after = Number(endOf(stretch) - endOf({ start: only.address, size: only.size }));
  return [
    ...(before > 0 ? [{ ...fresh, size: before }] : []),
    only,
    ...(after > 0 ? [{ ...fresh, address: endOf(stretch) - BigInt(after), size: after }] : []),
  ];
}

/** The parts of a span with contents that lie within a stretch; zero pages between them up to `gap` count. */
export function filePieces(span: StoredSpan, stretch: Extent, gap: number): Piece[] {
  const first = Math.max(0, Number(stretch.start - span.address) / PAGE);
  const last = Math.min(span.size, Number(endOf(stretch) - span.address)) / PAGE;
  const runs = span.runs
    .map(run => ({ from: Math.max(run.first, first), to: Math.min(run.first + run.count, last) }))
    .filter(({ from, to }) => from < to)
    .map(({ from, to }) => ({ first: from, count: to - from }));
  return mergeRanges(runs, gap).map(({ first, count }) => ({
    address: span.address + BigInt(first * PAGE),
    size: count * PAGE,
    fileOffset: span.fileOffset + first * PAGE,
  }));
}

/** A file mapping cannot grow down: the stack is fresh memory, and its pages are read in. */
const freshStack = (region: Region): Mapping => ({
  address: region.start,
  size: region.size,
  protection: protectionOf(region),
  flags: MAP.PRIVATE | MAP.FIXED | MAP.ANONYMOUS | MAP.GROWSDOWN,
  fileOffset: undefined,
  name: nameOfRegion(region),
});

function join(a: Mapping, b: Mapping): Mapping | undefined {
  const adjacent =
    a.address + BigInt(a.size) === b.address &&
    a.protection === b.protection &&
    a.flags === b.flags &&
    (a.flags & MAP.GROWSDOWN) === 0 &&
    a.file === b.file &&
    (a.fileOffset === undefined ? b.fileOffset === undefined : a.fileOffset + a.size === b.fileOffset);
  return adjacent ? { ...a, size: a.size + b.size } : undefined;
}

/** The steps of the mappings, and of what is read into them. */
export function mappingSteps(
  program: RestoreProgram,
  image: ProcessImage,
  mappings: readonly Mapping[],
  spans: readonly StoredSpan[],
  self: Slot,
): void {
  backingFileSteps(program, mappings);
  for (const { address, size, protection, flags, file, fileOffset, name } of mappings) {
    if (file !== undefined) continue;
    const fd = fileOffset === undefined ? -1 : self;
    program.syscall(`map ${name}`, NR.mmap, [address, size, protection, flags, fd, fileOffset ?? 0]);
  }
  for (const region of image.regions) {
    if (growsDown(region)) fillStack(program, region, spans, self);
  }
}

/** Reads the pages of a stack. */
function fillStack(program: RestoreProgram, region: Region, spans: readonly StoredSpan[], self: Slot): void {
  const pieces = spans.filter(span => span.region === region).flatMap(span => filePieces(span, region, 0));
  fillRegion(program, region, pieces, self);
}

/** Reads pieces into the fresh memory of a region; where that may not be written, it is protected afterwards. */
export function fillRegion(
  program: RestoreProgram,
  region: Region,
  pieces: readonly Piece[],
  self: Slot,
): void {
  const protect = (protection: number): void => {
    if (region.write || pieces.length === 0) return;
    program.syscall(`protect ${nameOfRegion(region)}`, NR.mprotect, [region.start, region.size, protection]);
  };
  protect(PROT.READ | PROT.WRITE);
  for (const piece of pieces) readContents(program, `read ${nameOfRegion(region)}`, piece, self);
  if (region.execute) {
    for (const { address, size } of pieces) program.operation('SYNC_CODE', 'code', [address, size]);
  }
  protect(protectionOf(region));
}

/** Shared memory: objects are made by `files.ts`, and mapped from the slot of each. */
export function sharedMappingSteps(
  program: RestoreProgram,
  image: ProcessImage,
  objects: ReadonlyMap<string, { readonly slot: Slot; readonly object: StoredObject | undefined }>,
): void {
  for (const region of image.regions) {
    if (isPrivate(region)) continue;
    const object = objects.get(objectKey(region));
    if (object === undefined) continue;
    program.syscall(`map shared ${nameOfRegion(region)}`, NR.mmap, [
      region.start,
      region.size,
      protectionOf(region),
      MAP.SHARED | MAP.FIXED,
      object.slot,
      region.offset,
    ]);
  }
}

/** Mappings of one object (memfd, shared anonymous memory, file) have the same key. */
export const objectKey = (region: { readonly device: string; readonly inode: number }): string =>
  `${region.device} ${region.inode}`;
