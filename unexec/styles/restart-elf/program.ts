/**
 * An ELF program as the `restart` style sees it: what its file says, and what its memory makes of that. Which
 * words are the loader's, what is dumped, where pointers are looked for.
 *
 * @module
 */
import {
  type DynamicRelocations,
  dynamicTypes,
  type ElfFile,
  type ElfSegment,
  ET,
  PF,
  PT,
  readDynamicRelocations,
} from '../../../formats/elf/index.ts';
import { findReserve, type Reserve } from '../../elf/reserve.ts';
import { firstEndingAfter, joinStretches, type Stretch } from '../../stretches.ts';
import { BLOCKS_OFFSET, readZoneHeader, type StartedZone, unexec_zone_header } from '../../zones/reserve.ts';
import { type BoundWords, readBoundWords } from '../restart/bound-words.ts';
import type { ProgramRange, Run } from '../restart/found-pointers.ts';
import { loadersWords, type SymbolWord } from './loaders-words.ts';
import { wordReader } from './relocation-plan.ts';
import { isStatic, librariesStretches, type ProgramEnds, programEnds } from './static-libraries.ts';
import { type AddressStretch, type DumpedSegment, dumpedSegments, loadersStretches } from './territory.ts';

export interface RestartProgram {
  readonly file: ElfFile;
  readonly isFixed: boolean;
  readonly present: DynamicRelocations;
  readonly reserve: Reserve | undefined;
  readonly zone: StartedZone | undefined;
  /** Where a static program's libraries begin; undefined for a dynamic one. */
  readonly ends: ProgramEnds | undefined;
  readonly bound: BoundWords<SymbolWord>;
  readonly dumped: readonly DumpedSegment[];
  /** Whether the word at an address of the file comes from the file. */
  readonly isKept: (address: bigint) => boolean;
  /** Reads a pointer: address → address that it leads to, both of the file. */
  readonly targetOf: (address: bigint) => bigint;
}

/**
 * @param path of the executable, for messages
 * @param mapped the file that the process runs, where `file` has more segments than that
 * @throws UnexecError as `findReserve`, `readZoneHeader` and `programEnds`; FormatError
 */
export function readProgram(file: ElfFile, first: Run, path: string, mapped: ElfFile = file): RestartProgram {
  const { memory } = first.image;
  const read = wordReader(memory, first.slide);
  const targetOf = (address: bigint): bigint => BigInt.asUintN(64, read(address) - first.slide);
  const present = readDynamicRelocations(file);
  const types = dynamicTypes(file.header.machine);
  const reserve = findReserve(file);
  const zone = readZone(reserve, first);
  const ends = isStatic(file) ? programEnds(file, path, reserve, targetOf) : undefined;
  const words = loadersWords(file, present);
  const always = [
    ...loadersStretches(file),
    ...(ends === undefined ? [] : librariesStretches(file, ends)),
    ...words.others,
    ...words.symbols.filter(({ type }) => type !== types.absolute).map(wordAt),
  ];
  const bound = readBoundWords({
    binds: words.symbols,
    isLoaders: within([...always, ...readOnly(file)]),
    memory,
    slide: first.slide,
    ...addressesOf(file, first),
  });
  const kept = [...always, ...bound.kept.map(wordAt)];
  const heap =
    reserve?.base === undefined ? undefined : { base: reserve.base, highWater: zone?.highWater ?? 0 };
  return {
    file,
    isFixed: file.header.type === ET.ET_EXEC,
    present,
    reserve,
    zone,
    ends,
    bound,
    dumped: dumpedSegments(file, kept, heap).filter(({ segment }) =>
      loadsOf(mapped).some(own => holds(own, segment.address)),
    ),
    isKept: within([...kept, ...readOnly(file)]),
    targetOf,
  };
}

const WORD = 8n;

const wordAt = ({ address }: { readonly address: bigint }): AddressStretch => ({
  start: address,
  end: address + WORD,
});

export const holds = ({ address, memorySize }: ElfSegment, at: bigint): boolean =>
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
export function rangesOf({ file, dumped, reserve, isFixed: fixed }: RestartProgram): ProgramRange[] {
  return file.segments.flatMap((segment, index) => {
    const { type, address, memorySize, flags } = segment;
    if (type !== PT.PT_LOAD || memorySize === 0) return [];
    const own = dumped.find(candidate => candidate.index === index);
    const skip: Stretch[] = own === undefined ? [] : [...own.kept, { start: own.size, end: memorySize }];
    // The zone's own structures are offsets, and pointers begin with its first block.
    const isHeap = reserve?.base !== undefined && holds(segment, reserve.base);
    if (isHeap) {
      const start = Number(reserve.base - address);
      skip.push({ start, end: start + BLOCKS_OFFSET });
    }
    const isCode = (flags & PF.PF_X) !== 0;
    const name = isHeap ? 'heap' : isCode ? 'code' : (flags & PF.PF_W) !== 0 ? 'data' : 'constants';
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
