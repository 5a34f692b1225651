/**
 * The `restart` style for Mach-O: the program's file again, with its writable segments as they are in memory,
 * its zone in the reserve, and a fixup for every pointer. The system's own loader starts it, and main runs
 * again and finds everything initialised.
 *
 * @module
 */
import { basename } from 'node:path';
import { hex } from '../../formats/errors.ts';
import {
  atAddress,
  contentsSize,
  type FileBind,
  type FileFixups,
  type MachOFile,
  MH_FLAGS,
  readContents,
  readFixups,
  segmentsOf,
} from '../../formats/macho/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { findReserve, type Reserve } from '../macho/reserve.ts';
import type { RestartManifest } from '../manifest.ts';
import type { Stretch } from '../stretches.ts';
import type { TargetFile } from '../target-file.ts';
import {
  BLOCKS_OFFSET,
  NOTES_OFFSET,
  readZoneHeader,
  type StartedZone,
  unexec_reserve,
  unexec_zone_header,
} from '../zones/reserve.ts';
import { type BoundWords, readBoundWords } from './restart/bound-words.ts';
import { refuseDoubtful } from './restart/doubtful.ts';
import type { Patch } from './restart/dump-segment.ts';
import { type FoundPointers, findPointers, type Run } from './restart/found-pointers.ts';
import { settleOutward } from './restart/outward.ts';
import type { PointerMap } from './restart/pointer-map.ts';
import type { WrittenSegmentReport } from './restart/written-segment.ts';
import { placeIn, planFixups } from './restart-macho/fixup-plan.ts';
import { initialiserSlots, settleInitialisers } from './restart-macho/initialisers.ts';
import { encodeReserveNotes } from './restart-macho/notes.ts';
import { nameOfPlace } from './restart-macho/place-name.ts';
import { programRanges } from './restart-macho/program-ranges.ts';
import { dumpedSegments, loadersWords } from './restart-macho/territory.ts';
import { writeRestartFile } from './restart-macho/write-file.ts';

export interface RestartInput {
  /** The executable that was run; it is changed. */
  readonly file: MachOFile;
  /** Its path, for messages. */
  readonly path: string;
  readonly first: Run;
  /** Another run of it that did the same. */
  readonly second: Run | undefined;
  /** Refuse what is not certain. */
  readonly strict: boolean;
  /** Tell of pointers and blocks as a whole. */
  readonly details?: boolean;
  readonly manifest: Pick<RestartManifest, 'tool' | 'argv' | 'freezePoint' | 'frozenAt'>;
  readonly onProgress: (done: number, total: number) => void;
}

export interface RestartWritten {
  /** Bytes of the file, holes included. */
  readonly size: number;
  readonly segments: readonly WrittenSegmentReport[];
  readonly zone: StartedZone | undefined;
  readonly pointers: FoundPointers['counts'] & {
    readonly method: FoundPointers['method'] | 'none';
    /** Words that lead out of the program and became binds of an imported symbol. */
    readonly bound: number;
    /** Words that lead out of the program and became null pointers. */
    readonly nulled: number;
    /** Words that lead out of the program, or seem to, and stay as they are. */
    readonly left: number;
  };
  /** Constructors that will not run again. */
  readonly dropped: number;
  readonly generation: number;
  /** A line for each word that is not certain. */
  readonly doubtful: readonly string[];
  /** Where details were wanted: of all pointers and blocks. */
  readonly map: PointerMap | undefined;
}

/** Writes the new executable into the open target; the caller commits it. */
export async function writeRestart(input: RestartInput, target: TargetFile): Promise<RestartWritten> {
  const { file, first } = input;
  const { memory } = first.image;

  // 1. What the file says: fixups, and where the reserve is. What memory says: the zone in it.
  const fixups = readFixups(file);
  checkSlides(input, fixups);
  const reserve = findReserve(file);
  const zone = readZone(reserve, first);

  // 2. What is dumped, and what stays the loader's.
  const isLoaders = loadersWords(file);
  const addresses = addressesOf(file, first);
  const bound = readBoundWords({
    binds: fixups.binds,
    isLoaders,
    memory,
    slide: first.slide,
    ...addresses,
  });
  const dumped = dumpedSegments(file, extentOf(reserve), zone?.highWater ?? 0, boundOffsets(file, bound));

  // 3. The pointers in it.
  const search = {
    ranges: programRanges(file, dumped, withoutPointers(file, reserve)),
    first,
    second: input.second,
    imports: [...bound.importOf.keys()].filter(value => !addresses.isMapped(value)),
    nameOf: (address: bigint) => nameOfPlace(file, address),
    details: input.details,
  };
  const found = findPointers(search);
  const outward = settleOutward(search, found, bound.importOf);
  const doubtful = [...found.remarks, ...outward.remarks];
  if (bound.unknown > 0) {
    if (input.strict) throw withoutLibraries(input.path, bound.unknown);
    doubtful.push(
      `memory of libraries is not there (${bound.unknown} imports): words that lead to anything else in them are not known, and stay as they are`,
    );
  }
  if (input.strict) refuseDoubtful(input.path, found, outward.lost, doubtful);

  // 4. What must be fixed, and which initialisers run again.
  const startSlot = reserve && reserve.address + BigInt(unexec_reserve.offsets.start);
  const targets = targetsAt(fixups, [
    ...initialiserSlots(file),
    ...(startSlot === undefined ? [] : [startSlot]),
  ]);
  const targetOf = (address: bigint): bigint | undefined => targets.get(address) ?? plainWord(file, address);
  const start = startSlot && targetOf(startSlot);
  const initialisers = settleInitialisers(file, start, targetOf);
  if (zone !== undefined && !initialisers.some(({ keepsStart }) => keepsStart))
    throw noStart(input.path, start);
  const unfixed = new Set(initialisers.flatMap(settled => settled.unfixed));
  const plan = planFixups({
    file,
    fixups,
    dumped,
    found: found.slots,
    bound: bound.kept,
    added: outward.added,
    unfixed,
  });

  // 5. What the tool itself writes into memory: the generation, the notes, words that are no pointers any more.
  const generation = (zone?.generation ?? 0) + 1;
  const manifest: RestartManifest = {
    version: 1,
    style: 'restart',
    arch: first.image.arch,
    program: basename(input.path),
    generation,
    pointers: { found: found.method, count: found.counts.pointers },
    ...input.manifest,
  };
  const patches = patchesOf(file, reserve, zone, manifest, unfixed);

  // 6. The file, streamed, signed.
  const written = await writeRestartFile(
    {
      file,
      fixups,
      first,
      dumped,
      plan,
      initialisers,
      patches,
      reserve,
      zone,
      nulled: outward.nulled,
      onProgress: input.onProgress,
    },
    target,
  );
  return {
    ...written,
    zone,
    pointers: {
      ...found.counts,
      method: isPie(file) ? found.method : 'none',
      bound: [...outward.added.values()].reduce((sum, { length }) => sum + length, 0),
      nulled: outward.lost.nulled,
      left: outward.lost.left,
    },
    dropped: initialisers.reduce((sum, settled) => sum + settled.dropped, 0),
    generation,
    doubtful,
    map: found.map,
  };
}

const withoutLibraries = (path: string, imports: number): UnexecError =>
  new UnexecError(
    'CORE_WITHOUT_LIBRARIES',
    `memory of the libraries of ${path} is not there (${imports} imports), so that words which lead to them cannot be known`,
    { path, hint: 'take the core with all memory: process save-core -s full, in lldb' },
  );

const isPie = ({ header }: MachOFile): boolean => (header.flags & MH_FLAGS.MH_PIE) !== 0;

function checkSlides({ file, path, first, second }: RestartInput, { style }: FileFixups): void {
  if (!isPie(file) && (first.slide !== 0n || (second?.slide ?? 0n) !== 0n)) {
    throw new UnexecError(
      'SLIDE_OF_FIXED',
      `${path} is not position independent, and yet slid by ${first.slide} bytes`,
      { path },
    );
  }
  if (isPie(file) && style === 'none') {
    throw new UnexecError(
      'NO_FIXUPS',
      `${path} is position independent, and has neither LC_DYLD_INFO nor LC_DYLD_CHAINED_FIXUPS`,
      { path, hint: 'link it for macOS 10.6 or newer' },
    );
  }
}

function readZone(reserve: Reserve | undefined, { image, slide }: Run): StartedZone | undefined {
  if (reserve?.base === undefined) return undefined;
  const head = new Uint8Array(unexec_zone_header.size);
  image.memory.read(reserve.base + slide, head);
  return readZoneHeader(head, reserve.size);
}

const extentOf = (reserve: Reserve | undefined) =>
  reserve?.base === undefined ? undefined : { base: reserve.base, size: reserve.size };

/** What is in the program's image, what is mapped at all, and what nobody has written to. */
function addressesOf(file: MachOFile, { image, slide }: Run) {
  const own = segmentsOf(file).filter(({ initprot }) => initprot !== 0);
  const clean = image.clean ?? [];
  return {
    isClean: (address: bigint) =>
      clean.some(({ start, size }) => address + slide >= start && address + slide < start + BigInt(size)),
    isInImage: (address: bigint) =>
      own.some(({ vmaddr, vmsize }) => address >= vmaddr + slide && address < vmaddr + vmsize + slide),
    isMapped: (address: bigint) =>
      image.regions.some(({ start, size }) => address >= start && address < start + BigInt(size)),
  };
}

function boundOffsets(file: MachOFile, { kept }: BoundWords<FileBind>): (index: number) => number[] {
  const place = placeIn(file);
  const offsets = segmentsOf(file).map((): number[] => []);
  for (const { address } of kept) {
    const { index, offset } = place(address);
    offsets[index]?.push(offset);
  }
  return index => offsets[index] ?? [];
}

/**
 * The zone's own structures are offsets, and the notes are text: no pointers before the first block. The size of a
 * reserve may be an address of the program, as 4 GiB are on macOS: of its struct only `start` is a pointer.
 */
function withoutPointers(file: MachOFile, reserve: Reserve | undefined): Map<number, Stretch[]> {
  if (reserve === undefined) return new Map();
  const place = placeIn(file);
  const skip = new Map<number, Stretch[]>();
  const add = (address: bigint, size: number): void => {
    const { index, offset } = place(address);
    skip.set(index, [...(skip.get(index) ?? []), { start: offset, end: offset + size }]);
  };
  add(reserve.address, unexec_reserve.offsets.start);
  if (reserve.base !== undefined) add(reserve.base, BLOCKS_OFFSET);
  return skip;
}

/** What the rebases of the file say of these words. Of all words it would be millions, more than a Map holds. */
function targetsAt({ rebases }: FileFixups, slots: Iterable<bigint>): Map<bigint, bigint> {
  const wanted = new Set(slots);
  const targets = new Map<bigint, bigint>();
  for (const [i, address] of rebases.addresses.entries()) {
    if (wanted.has(address)) targets.set(address, rebases.targets[i] ?? 0n);
  }
  return targets;
}

/** In the next life nobody would put the zone under malloc again. */
const noStart = (path: string, start: bigint | undefined): UnexecError =>
  new UnexecError(
    'RUNTIME_DAMAGED',
    `${path} has a zone, but the constructor that starts it (${start === undefined ? 'struct unexec_reserve names none' : `at ${hex(start)}`}) is in no section of constructors`,
    { path, hint: "link unexec's runtime unchanged, and without tools that remove constructors" },
  );

function wordAt(file: MachOFile, address: bigint): Uint8Array | undefined {
  const contents = atAddress(file, address);
  return contents && contentsSize(contents) >= 8 ? readContents(contents, 0, 8) : undefined;
}

/** Without a rebase, the word itself is the address: programs that are not position independent. */
function plainWord(file: MachOFile, address: bigint): bigint | undefined {
  if (isPie(file)) return undefined;
  const bytes = wordAt(file, address);
  return bytes && viewOf(bytes).getBigUint64(0, true);
}

function patchesOf(
  file: MachOFile,
  reserve: Reserve | undefined,
  zone: StartedZone | undefined,
  manifest: RestartManifest,
  unfixed: ReadonlySet<bigint>,
): Map<number, Patch[]> {
  const place = placeIn(file);
  const patches = new Map<number, Patch[]>();
  const patch = (address: bigint, bytes: Uint8Array): void => {
    const { index, offset } = place(address);
    patches.set(index, [...(patches.get(index) ?? []), { offset, bytes }]);
  };
  for (const address of unfixed) patch(address, new Uint8Array(8));
  if (reserve?.base === undefined || zone === undefined) return patches;
  const generation = new Uint8Array(4);
  viewOf(generation).setUint32(0, manifest.generation, true);
  patch(reserve.base + BigInt(unexec_zone_header.offsets.generation), generation);
  const { size, used, highWater, pageSize, isDefault } = zone;
  const zones = [
    { kind: 'reserve' as const, base: reserve.base, size, used, highWater, pageSize, isDefault },
  ];
  patch(reserve.base + BigInt(NOTES_OFFSET), encodeReserveNotes(manifest, zones));
  return patches;
}
