/**
 * Finds a Mach-O executable in the memory of a process: by its header and LC_UUID, as nobody can be counted on
 * to say where it is. xnu's cores have no list of images; a list that there is, is a hint to be checked.
 * Everything else that is mapped (the dyld shared cache, libraries, copies of the file that a loader keeps)
 * is passed over.
 *
 * @module
 */
import { hex } from '../../formats/errors.ts';
import {
  findSegment,
  type MachOFile,
  MH,
  readUuid,
  type SegmentCommand,
  segmentsOf,
} from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import { endOf, type MemoryImage, PAGE } from '../image.ts';
import { samplePointers, slidesOf } from './fixed-pointers.ts';
import { type MappedHeader, readMappedHeader } from './mapped-header.ts';

/** Where an executable lies. */
export interface FoundMachO {
  /** Of its mach_header_64. */
  readonly address: bigint;
  /** What is added to the file's addresses. */
  readonly slide: bigint;
}

/** Where somebody says that an image is. */
export interface ListedImage {
  readonly address: bigint;
  /** 32 digits of lower-case hexadecimal, where it is known. */
  readonly uuid: string | undefined;
}

type Memory = Pick<MemoryImage, 'regions' | 'memory'>;

/**
 * Where `file`, an executable, is mapped.
 *
 * @param listed where images are said to be, if anybody said so
 * @throws UnexecError `NOT_THIS_EXECUTABLE` (both UUIDs are told), `EXECUTABLE_CHANGED` (the same UUID, other
 *   segments), `EXECUTABLE_NOT_FOUND`, `EXECUTABLE_AMBIGUOUS`, `MACHO_NO_TEXT`
 */
export function findMachO(image: Memory, file: MachOFile, listed: readonly ListedImage[] = []): FoundMachO {
  const text = findSegment(file, '__TEXT');
  if (text === undefined) {
    throw new UnexecError(
      'MACHO_NO_TEXT',
      'the executable has no segment __TEXT, expected one with its header',
    );
  }
  const foundAt = (address: bigint): FoundMachO => ({ address, slide: address - text.vmaddr });
  const others: MappedHeader[] = [];
  for (const places of [listedPlaces(image, listed), regionStarts(image), allPages(image)]) {
    const headers = headersAt(image, file, places);
    const matches = headers.filter(header => isSame(file, header));
    const best = choose(image, file, matches, text);
    if (best !== undefined) return foundAt(best.address);
    others.push(...headers);
  }
  const clean = listed.find(({ address, uuid }) => isCleanImage(image, file, foundAt(address), uuid));
  if (clean !== undefined) return foundAt(clean.address);
  throw notFound(file, others);
}

/** Headers of executables at these addresses. */
function headersAt(image: Memory, file: MachOFile, places: Iterable<bigint>): MappedHeader[] {
  const headers: MappedHeader[] = [];
  for (const address of new Set(places)) {
    const header = readMappedHeader(image.memory, address);
    if (header?.filetype === MH.MH_EXECUTE && header.cputype === file.header.cputype) headers.push(header);
  }
  return headers;
}

const listedPlaces = (image: Memory, listed: readonly ListedImage[]): bigint[] =>
  listed.map(({ address }) => address).filter(address => isMapped(image, address, address + 1n));

function* regionStarts({ regions }: Memory): Iterable<bigint> {
  for (const { start, read, shared } of regions) if (read && !shared) yield start;
}

/** A core may have joined what lies side by side. */
function* allPages({ regions, memory }: Memory): Iterable<bigint> {
  for (const region of regions) {
    if (!region.read || region.shared) continue;
    for (const { first, count } of memory.touched(region)) {
      for (let page = first; page < first + count; page++) yield region.start + BigInt(page * PAGE);
    }
  }
}

function isSame(file: MachOFile, header: MappedHeader): boolean {
  const uuid = readUuid(file);
  return uuid === header.uuid && (uuid !== undefined || differingSegment(file, header) === undefined);
}

/** Of copies, the one that runs: with its pointers moved to where it is, its code executable, its segments there. */
function choose(
  image: Memory,
  file: MachOFile,
  matches: readonly MappedHeader[],
  text: SegmentCommand,
): MappedHeader | undefined {
  const [only, another] = matches;
  const best = another === undefined ? only : likeliest(image, file, matches, text);
  if (best === undefined) return undefined;
  const segname = differingSegment(file, best);
  if (segname === undefined) return best;
  throw new UnexecError(
    'EXECUTABLE_CHANGED',
    `the process runs another build of the executable: its UUID is the same, its segment ${segname} is not`,
    { hint: 'give the very file that was started, as it was then (prepared or not)' },
  );
}

function likeliest(
  image: Memory,
  file: MachOFile,
  matches: readonly MappedHeader[],
  text: SegmentCommand,
): MappedHeader {
  const segments = segmentsOf(file).filter(isLoaded);
  const pointers = samplePointers(file);
  const judged = matches.map(header => {
    const { address } = header;
    const slide = address - text.vmaddr;
    const region = image.regions.find(region => region.start <= address && address < endOf(region));
    const slides = slidesOf(image.memory, pointers, slide);
    const moved = slides.get(slide) ?? 0;
    return {
      header,
      ranks: [
        moved,
        // An emulated program's pointers were moved by what it sees.
        Math.max(moved, ...[...slides].map(([by, count]) => (isSlide(by) ? count : 0))),
        region?.execute === true ? 1 : 0,
        segments.filter(segment => isMappedAt(image, segment, slide)).length,
      ],
    };
  });
  judged.sort((a, b) => compareRanks(b.ranks, a.ranks));
  const [first, second] = judged;
  if (first !== undefined && (second === undefined || compareRanks(first.ranks, second.ranks) > 0)) {
    return first.header;
  }
  const places = judged.map(({ header }) => hex(header.address)).join(' and at ');
  throw new UnexecError(
    'EXECUTABLE_AMBIGUOUS',
    `the executable is mapped ${judged.length} times, at ${places}: expected it once`,
  );
}

/** What a loader would choose: whole pages. The words of chained fixups, not moved, look like more than 2^51. */
const isSlide = (by: bigint): boolean =>
  by !== 0n && by % BigInt(PAGE) === 0n && BigInt.asIntN(48, by) === by;

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [i, rank] of a.entries()) if (rank !== b[i]) return rank - (b[i] ?? 0);
  return 0;
}

/** Segments that are mapped to memory: not the page zero. __LINKEDIT need not be there. */
const isLoaded = ({ segname, initprot, vmsize }: SegmentCommand): boolean =>
  initprot !== 0 && vmsize > 0n && segname !== '__LINKEDIT';

const isMappedAt = (image: Memory, { vmaddr, vmsize }: SegmentCommand, slide: bigint): boolean =>
  isMapped(image, vmaddr + slide, vmaddr + slide + vmsize);

/** Whether anything is mapped in [start, end). */
const isMapped = ({ regions }: Memory, start: bigint, end: bigint): boolean =>
  regions.some(region => region.start < end && endOf(region) > start);

/** The first segment that the file has elsewhere than the header in memory says; not __LINKEDIT, which signing changes. */
function differingSegment(file: MachOFile, { segments }: MappedHeader): string | undefined {
  const own = segmentsOf(file);
  const differs = own.findIndex((segment, i) => {
    const other = segments[i];
    return (
      other === undefined ||
      other.segname !== segment.segname ||
      (segment.segname !== '__LINKEDIT' &&
        (other.vmaddr !== segment.vmaddr ||
          other.vmsize !== segment.vmsize ||
          other.fileoff !== BigInt(segment.fileoff) ||
          other.filesize !== BigInt(segment.filesize)))
    );
  });
  if (differs >= 0) return own[differs]?.segname;
  return segments[own.length]?.segname;
}

/**
 * Whether a core without the pages that nobody has written to may have the executable there: the list says so, its
 * header is not in the core, and some of its data is.
 */
function isCleanImage(
  image: Memory,
  file: MachOFile,
  { address, slide }: FoundMachO,
  uuid: string | undefined,
): boolean {
  if (uuid === undefined || uuid !== readUuid(file) || isMapped(image, address, address + 1n)) return false;
  return segmentsOf(file).some(segment => isLoaded(segment) && isMappedAt(image, segment, slide));
}

function notFound(file: MachOFile, others: readonly MappedHeader[]): UnexecError {
  const own = uuidText(readUuid(file));
  const uuids = [...new Set(others.map(({ uuid }) => uuidText(uuid)))];
  if (uuids.length > 0) {
    return new UnexecError(
      'NOT_THIS_EXECUTABLE',
      `the process runs another executable: its UUID is ${uuids.join(' or ')}, and that of the file ${own}`,
      { hint: 'give the executable that was started' },
    );
  }
  return new UnexecError(
    'EXECUTABLE_NOT_FOUND',
    `no executable is mapped in this memory, expected one with the UUID ${own}`,
    { hint: 'take a core with all memory: process save-core -s full, in lldb' },
  );
}

/** As `dwarfdump --uuid` shows it. */
const uuidText = (uuid: string | undefined): string =>
  uuid === undefined
    ? 'none'
    : uuid.toUpperCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
