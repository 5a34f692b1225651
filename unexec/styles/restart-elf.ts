/**
 * The `restart` style for ELF: the program's file again, with its writable segments as they are in memory,
 * its zone in the reserve, and a relocation for every pointer. The system's own loader starts it, and main
 * runs again and finds everything initialised.
 *
 * @module
 */
import { basename } from 'node:path';
import {
  DT,
  dynamicTypes,
  type ElfFile,
  type ElfSegment,
  ET,
  PF,
  PT,
  readDynamic,
  readDynamicRelocations,
} from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { findReserve, type Reserve } from '../elf/reserve.ts';
import { firstEndingAfter, joinStretches, type Stretch } from '../macho/stretches.ts';
import type { RestartManifest } from '../manifest.ts';
import type { TargetFile } from '../target-file.ts';
import {
  BLOCKS_OFFSET,
  readZoneHeader,
  type StartedZone,
  unexec_reserve,
  unexec_zone_header,
} from '../zones/reserve.ts';
import { readBoundWords } from './restart/bound-words.ts';
import { refuseDoubtful } from './restart/doubtful.ts';
import { type FoundPointers, findPointers, type ProgramRange, type Run } from './restart/found-pointers.ts';
import { settleOutward } from './restart/outward.ts';
import { settleInitialisers } from './restart-elf/initialisers.ts';
import { loadersWords } from './restart-elf/loaders-words.ts';
import { nameOfPlace } from './restart-elf/place-name.ts';
import { planRelocations, wordReader } from './restart-elf/relocation-plan.ts';
import { isStatic, librariesStretches, programEnds } from './restart-elf/static-libraries.ts';
import { planTables } from './restart-elf/tables.ts';
import {
  type AddressStretch,
  type DumpedSegment,
  dumpedSegments,
  loadersStretches,
} from './restart-elf/territory.ts';
import { writeRestartFile } from './restart-elf/write-file.ts';
import type { Patch } from './restart-macho/dump-segment.ts';

export interface RestartInput {
  /** The executable that was run; it is changed. */
  readonly file: ElfFile;
  /** Its path, for messages. */
  readonly path: string;
  readonly first: Run;
  /** Another run of it that did the same. */
  readonly second: Run | undefined;
  /** Refuse what is not certain. */
  readonly strict: boolean;
  readonly manifest: Pick<RestartManifest, 'tool' | 'argv' | 'freezePoint' | 'frozenAt'>;
  readonly onProgress: (done: number, total: number) => void;
}

/** Writes the new executable into the open target; the caller commits it. */
export async function writeRestartElf(input: RestartInput, target: TargetFile) {
  const { file, first, second } = input;
  const { memory } = first.image;
  const isFixed = file.header.type === ET.ET_EXEC;
  const read = wordReader(memory, first.slide);
  const targetOf = (address: bigint): bigint => BigInt.asUintN(64, read(address) - first.slide);

  // 1. What the file says: relocations, and where the reserve is. What memory says: the zone in it.
  const present = readDynamicRelocations(file);
  const types = dynamicTypes(file.header.machine);
  const reserve = findReserve(file);
  const zone = readZone(reserve, first);
  const ends = isStatic(file) ? programEnds(file, input.path, reserve, targetOf) : undefined;
  const heap =
    reserve?.base === undefined ? undefined : { base: reserve.base, highWater: zone?.highWater ?? 0 };

  // 2. What is dumped, and what stays the loader's.
  const words = loadersWords(file, present);
  const always = [
    ...loadersStretches(file),
    ...(ends === undefined ? [] : librariesStretches(file, ends)),
    ...words.others,
    ...words.symbols.filter(({ type }) => type !== types.absolute).map(wordAt),
  ];
  const isLoaders = within([...always, ...readOnly(file)]);
  const bound = readBoundWords({
    binds: words.symbols,
    isLoaders,
    memory,
    slide: first.slide,
    ...addressesOf(file, first),
  });
  const kept = [...always, ...bound.kept.map(wordAt)];
  const dumped = dumpedSegments(file, kept, heap);

  // 3. The pointers in it, and those out of it.
  const search = {
    ranges: rangesOf(file, dumped, reserve, isFixed),
    first,
    second,
    nameOf: (address: bigint) => nameOfPlace(file, address),
  };
  const found = findPointers(search);
  const outward = settleOutward(search, found, bound.importOf);
  const doubtful = [...found.remarks, ...outward.remarks];
  if (input.strict) refuseDoubtful(input.path, found, outward.lost, doubtful);
  const slots: FoundPointers['slots'] = isFixed ? new Map() : found.slots;

  // 4. Which initialisers run again, and the relocations.
  const start = reserve && targetOf(reserve.address + BigInt(unexec_reserve.offsets.start));
  const initialisers = settleInitialisers(file, { start, lastStart: ends?.lastStart }, targetOf);
  const added = [...outward.added].flatMap(([index, binds]) =>
    binds.map(({ offset, like }) => ({
      address: (file.segments[index]?.address ?? 0n) + BigInt(offset),
      symbolIndex: like.symbolIndex,
      addend: 0n,
    })),
  );
  const relocations = planRelocations({
    file,
    present,
    usesRelr: readDynamic(file).some(({ tag }) => tag === DT.DT_RELR),
    dumped,
    found: slots,
    isKept: within([...kept, ...readOnly(file)]),
    redirected: initialisers.redirected,
    added,
    targetOf,
  });

  // 5. The tables, and what the tool itself writes over memory.
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
  const tables = planTables(file, relocations, manifest, zonesOf(reserve, zone));
  const patches = new Map<number, Patch[]>();
  const patch = (address: bigint, bytes: Uint8Array): void => {
    const own = dumped.find(({ segment }) => holds(segment, address));
    if (own === undefined) return;
    const offset = Number(address - own.segment.address);
    patches.set(own.index, [...(patches.get(own.index) ?? []), { offset, bytes }]);
  };
  for (const [address, target] of initialisers.redirected) patch(address, word(target));
  for (const { address, value } of tables.dynamicWords) patch(address, word(value));
  if (reserve?.base !== undefined && zone !== undefined) {
    patch(
      reserve.base + BigInt(unexec_zone_header.offsets.generation),
      word(BigInt(generation)).subarray(0, 4),
    );
  }

  // 6. The file, streamed.
  const written = await writeRestartFile(
    {
      file,
      first,
      dumped,
      found: slots,
      nulled: outward.nulled,
      patches,
      heap: heap && dumped.find(({ segment }) => holds(segment, heap.base))?.index,
      tables: tables.tables,
      tablesSegment: tables.segment,
      onProgress: input.onProgress,
    },
    target,
  );
  return {
    ...written,
    zone,
    pointers: {
      ...found.counts,
      method: found.method,
      bound: added.length,
      nulled: outward.lost.nulled,
      left: outward.lost.left,
    },
    dropped: initialisers.dropped,
    generation,
    doubtful,
  };
}

const WORD = 8n;

const wordAt = ({ address }: { readonly address: bigint }): AddressStretch => ({
  start: address,
  end: address + WORD,
});

const word = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  return bytes;
};

const holds = ({ address, memorySize }: ElfSegment, at: bigint): boolean =>
  at >= address && at < address + BigInt(memorySize);

const loadsOf = (file: ElfFile): ElfSegment[] =>
  file.segments.filter(({ type, memorySize }) => type === PT.PT_LOAD && memorySize > 0);

const readOnly = (file: ElfFile): AddressStretch[] =>
  loadsOf(file)
    .filter(({ flags }) => (flags & PF.PF_W) === 0)
    .map(({ address, memorySize }) => ({ start: address, end: address + BigInt(memorySize) }));

/** Whether an address is in one of these. Asked for every relocation. */
function within(stretches: readonly AddressStretch[]): (address: bigint) => boolean {
  const base = stretches.map(({ start }) => start).sort((a, b) => (a < b ? -1 : 1))[0] ?? 0n;
  const joined = joinStretches(
    stretches.map(({ start, end }) => ({ start: Number(start - base), end: Number(end - base) })),
  );
  return address => {
    const offset = Number(address - base);
    const stretch = joined[firstEndingAfter(joined, offset)];
    return stretch !== undefined && stretch.start <= offset;
  };
}

function readZone(reserve: Reserve | undefined, { image, slide }: Run): StartedZone | undefined {
  if (reserve?.base === undefined) return undefined;
  const head = new Uint8Array(unexec_zone_header.size);
  image.memory.read(reserve.base + slide, head);
  return readZoneHeader(head, reserve.size);
}

function zonesOf(reserve: Reserve | undefined, zone: StartedZone | undefined) {
  if (reserve?.base === undefined || zone === undefined) return [];
  const { size, used, highWater, pageSize, isDefault } = zone;
  return [{ kind: 'reserve' as const, base: reserve.base, size, used, highWater, pageSize, isDefault }];
}

/** What is in the program's image and what is mapped at all, by addresses of the process. */
function addressesOf(file: ElfFile, { image, slide }: Run) {
  const own = loadsOf(file);
  return {
    isInImage: (address: bigint) => own.some(segment => holds(segment, address - slide)),
    isMapped: (address: bigint) =>
      image.regions.some(({ start, size }) => address >= start && address < start + BigInt(size)),
  };
}

/** The program's segments: pointers may lead to all of them, and are searched in the dumped ones. */
function rangesOf(
  file: ElfFile,
  dumped: readonly DumpedSegment[],
  reserve: Reserve | undefined,
  fixed: boolean,
): ProgramRange[] {
  return file.segments.flatMap((segment, index) => {
    const { type, address, memorySize, flags } = segment;
    if (type !== PT.PT_LOAD || memorySize === 0) return [];
    const own = dumped.find(candidate => candidate.index === index);
    const skip: Stretch[] = own === undefined ? [] : [...own.kept, { start: own.size, end: memorySize }];
    // The zone's own structures are offsets, and pointers begin with its first block.
    if (reserve?.base !== undefined && holds(segment, reserve.base)) {
      const start = Number(reserve.base - address);
      skip.push({ start, end: start + BLOCKS_OFFSET });
    }
    const name = (flags & PF.PF_X) !== 0 ? 'code' : (flags & PF.PF_W) !== 0 ? 'data' : 'constants';
    return [
      {
        index,
        name,
        address,
        size: memorySize,
        searched: own !== undefined,
        skip: joinStretches(skip),
        fixed,
      },
    ];
  });
}
