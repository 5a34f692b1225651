/**
 * An ELF file described: gABI 4.1. Regions of an image of the style resume are sections with addresses, in no segment
 * (unexec/styles/resume/executable.ts).
 *
 * @module
 */
import { EM, ET, PF, PT, SHF, SHN, SHT, STB, STT } from '../elf/constants.ts';
import { readDynamicSymbols } from '../elf/dynamic-symbols.ts';
import { findSection } from '../elf/find.ts';
import { kindOfElf } from '../elf/kind.ts';
import { type ElfFile, type ElfSection, hasFileBytes, sectionSize } from '../elf/model.ts';
import { readElf } from '../elf/read.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr } from '../elf/structs.ts';
import { type ElfSymbol, readSymbols } from '../elf/symbols.ts';
import { isDebugFile } from '../elf/verify/index.ts';
import { nameOf } from '../names.ts';
import type { ByteSource } from '../source.ts';
import type { Claim } from './cover.ts';
import type { DescribedImage } from './image.ts';
import type { SectionDescription, SegmentDescription } from './model.ts';
import {
  type FileClaim,
  type LoadedRange,
  LoadedRanges,
  type MemoryClaim,
  memoryOf,
  partsOf,
  protectionOf,
  RANK,
} from './parts.ts';
import type { RawSymbol } from './symbols.ts';

/** @throws FormatError as `readElf` does */
export function describeElf(source: ByteSource): DescribedImage {
  const file = readElf(source);
  const isResume = isResumeImage(file);
  const sections = file.sections.map(section => describeSection(file, section, isResume));
  const segments = file.segments.map(describeSegment);
  const ranges = loadedRanges(file, sections);
  const loaded = new LoadedRanges(ranges);
  // The offsets in a debug file's program headers are those of the file that it was made from.
  const inFile = isDebugFile(file) ? new LoadedRanges([]) : loaded;
  const headers = headersOf(file);
  return {
    format: 'ELF',
    kind: isResume ? 'image' : kindOfElf(file),
    arch: nameOf(EM, file.header.machine).replace('EM_', '').toLowerCase(),
    offset: 0,
    size: source.size,
    segments,
    sections,
    parts: partsOf(source, fileClaims(file, sections, headers), inFile, 0, 0),
    memory: memoryOf(memoryClaims(file, sections, ranges, headers, inFile, isResume), 0),
    isRelocatable: file.header.type === ET.ET_REL,
    readSymbols: () => symbolsOf(file, sections),
  };
}

const isResumeImage = (file: ElfFile): boolean =>
  findSection(file, '.unexec.code') !== undefined && findSection(file, '.note.unexec') !== undefined;

/** Whether a section takes room in memory: the zeros of thread-local variables do not. */
const isInMemory = (file: ElfFile, { type, flags, address }: ElfSection): boolean =>
  (flags & SHF.SHF_ALLOC) !== 0 &&
  file.header.type !== ET.ET_REL &&
  (address !== 0n || file.header.type === ET.ET_CORE) &&
  !((flags & SHF.SHF_TLS) !== 0 && type === SHT.SHT_NOBITS);

function describeSection(file: ElfFile, section: ElfSection, isResume: boolean): SectionDescription {
  const { name, type, flags, address, offset } = section;
  const fileSize = hasFileBytes(section) ? sectionSize(section) : 0;
  const inMemory = isInMemory(file, section);
  const [, named] = /\.([r-][w-][x-])$/.exec(name) ?? [];
  const protection = protectionOf(true, (flags & SHF.SHF_WRITE) !== 0, (flags & SHF.SHF_EXECINSTR) !== 0);
  return {
    name,
    type: nameOf(SHT, type),
    offset: fileSize > 0 ? offset : undefined,
    fileSize,
    address: inMemory ? address : undefined,
    memorySize: inMemory ? sectionSize(section) : 0,
    // No flag says that a section cannot be read; the names of an image's regions do.
    protection: inMemory ? ((isResume ? named : undefined) ?? protection) : undefined,
  };
}

const describeSegment = (segment: ElfFile['segments'][number]): SegmentDescription => ({
  name: nameOf(PT, segment.type),
  offset: segment.offset,
  fileSize: segment.fileSize,
  address: segment.address,
  memorySize: segment.memorySize,
  protection: protectionOfFlags(segment.flags),
});

const protectionOfFlags = (flags: number): string =>
  protectionOf((flags & PF.PF_R) !== 0, (flags & PF.PF_W) !== 0, (flags & PF.PF_X) !== 0);

function loadedRanges(file: ElfFile, sections: readonly SectionDescription[]): LoadedRange[] {
  const addresses = sections
    .flatMap(({ address }) => (address === undefined ? [] : [address]))
    .sort(ascending);
  return file.segments.flatMap((segment, index) => {
    if (segment.type !== PT.PT_LOAD) return [];
    const { offset, fileSize, memorySize, address } = segment;
    const end = address + BigInt(memorySize);
    const first = firstFrom(addresses, address);
    return {
      index,
      offset,
      fileSize,
      address,
      memorySize: Math.max(memorySize, fileSize),
      protection: protectionOfFlags(segment.flags),
      hasSections: first !== undefined && first < end,
    };
  });
}

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

/** The first of ascending addresses that is `address` or beyond. */
function firstFrom(addresses: readonly bigint[], address: bigint): bigint | undefined {
  let low = 0;
  let high = addresses.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((addresses[middle] ?? 0n) < address) low = middle + 1;
    else high = middle;
  }
  return addresses[low];
}

interface Header {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

const headersOf = (file: ElfFile): Header[] => [
  { name: 'ELF header', offset: 0, size: Elf64_Ehdr.size },
  { name: 'program headers', offset: file.phoff ?? 0, size: file.segments.length * Elf64_Phdr.size },
  { name: 'section headers', offset: file.shoff ?? 0, size: file.sections.length * Elf64_Shdr.size },
];

/** Segments that mean something themselves; the others (PT_GNU_RELRO) only say more about bytes of a PT_LOAD. */
const SPECIAL: ReadonlySet<number> = new Set([
  PT.PT_DYNAMIC,
  PT.PT_INTERP,
  PT.PT_NOTE,
  PT.PT_TLS,
  PT.PT_GNU_EH_FRAME,
]);

function fileClaims(
  file: ElfFile,
  sections: readonly SectionDescription[],
  headers: readonly Header[],
): Claim<number, FileClaim>[] {
  const claims: Claim<number, FileClaim>[] = headers.map(({ name, offset, size }) => ({
    start: offset,
    end: offset + size,
    rank: RANK.HEADER,
    value: { kind: 'header', name },
  }));
  for (const [index, section] of sections.entries()) {
    const { name, offset = 0, fileSize, address, protection } = section;
    claims.push({
      start: offset,
      end: offset + fileSize,
      rank: RANK.SECTION,
      value: { kind: 'section', name, address, protection, section: index },
    });
  }
  if (isDebugFile(file)) return claims;
  for (const { type, offset, fileSize, flags } of file.segments) {
    const isLoad = type === PT.PT_LOAD;
    if (!isLoad && !SPECIAL.has(type)) continue;
    claims.push({
      start: offset,
      end: offset + fileSize,
      rank: isLoad ? RANK.SEGMENT : RANK.SPECIAL_SEGMENT,
      value: {
        kind: type === PT.PT_NOTE ? 'note' : 'segment',
        name: isLoad ? `PT_LOAD ${protectionOfFlags(flags)}` : nameOf(PT, type),
      },
    });
  }
  return claims;
}

/** Sections of an image without bytes whose memory is not zero: it is in the file that is mapped, or compressed. */
const ELSEWHERE = /\((?:file|lz4)\)\.[r-][w-][x-]$/;

function memoryClaims(
  file: ElfFile,
  sections: readonly SectionDescription[],
  ranges: readonly LoadedRange[],
  headers: readonly Header[],
  loaded: LoadedRanges,
  isResume: boolean,
): Claim<bigint, MemoryClaim>[] {
  const claims: Claim<bigint, MemoryClaim>[] = [];
  const add = (rank: number, start: bigint, size: number, value: MemoryClaim): void => {
    claims.push({ start, end: start + BigInt(size), rank, value });
  };
  // What a core leaves out was not zero, and a debug file's bytes are in the program.
  const without = file.header.type === ET.ET_CORE || isDebugFile(file) ? 'absent' : 'zero';
  const size = file.source?.size ?? 0;

  for (const { name, offset, size: length } of headers) {
    const range = loaded.atOffset(offset);
    if (range === undefined || length === 0) continue;
    const into = offset - range.offset;
    const value = { kind: 'header', name, backing: 'file', offset, section: undefined } as const;
    const { protection, index: segment } = range;
    add(RANK.HEADER, range.address + BigInt(into), Math.min(length, range.fileSize - into), {
      ...value,
      protection,
      segment,
    });
  }
  const byAddress = new LoadedRanges(ranges);
  for (const [index, section] of sections.entries()) {
    const { name, address, memorySize, offset, protection } = section;
    if (address === undefined || protection === undefined) continue;
    const range = byAddress.atAddress(address);
    add(RANK.SECTION, address, memorySize, {
      kind: 'section',
      name,
      backing: offset !== undefined ? 'file' : isResume && ELSEWHERE.test(name) ? 'absent' : without,
      offset,
      protection: range?.protection ?? protection,
      section: index,
      segment: range?.index,
    });
  }
  for (const { index, address, offset, fileSize, memorySize, protection, hasSections } of ranges) {
    const there = loaded.atOffset(offset) === undefined ? 0 : Math.max(0, Math.min(fileSize, size - offset));
    const value = {
      kind: hasSections ? 'gap' : 'segment',
      name: hasSections ? 'padding' : `PT_LOAD ${protection}`,
      protection,
      section: undefined,
      segment: index,
      offset: undefined,
    } as const;
    add(RANK.SEGMENT, address, there, { ...value, backing: 'file', offset });
    add(RANK.SEGMENT, address + BigInt(there), fileSize - there, { ...value, backing: 'absent' });
    add(RANK.SEGMENT, address + BigInt(fileSize), memorySize - fileSize, { ...value, backing: without });
  }
  return claims;
}

/** Those of .symtab, and where there is none the dynamic ones. */
function symbolsOf(file: ElfFile, sections: readonly SectionDescription[]): RawSymbol[] {
  const table =
    file.sections.find(({ type }) => type === SHT.SHT_SYMTAB) ??
    file.sections.find(({ type }) => type === SHT.SHT_DYNSYM);
  const symbols = table === undefined ? readDynamicSymbols(file) : readSymbols(file, table);
  const isRelocatable = file.header.type === ET.ET_REL;
  return symbols.flatMap(symbol => {
    if (!isSomewhere(symbol)) return [];
    const section = sections[symbol.sectionIndex];
    // In a relocatable values count from the beginning of the section.
    if (isRelocatable && section?.offset === undefined) return [];
    const { name, value, size, bind } = symbol;
    return {
      name,
      position: isRelocatable ? value + BigInt(section?.offset ?? 0) : value,
      size,
      type: TYPES[symbol.type] ?? 'other',
      isGlobal: bind === STB.STB_GLOBAL,
    };
  });
}

const TYPES: Readonly<Record<number, RawSymbol['type']>> = {
  [STT.STT_FUNC]: 'function',
  [STT.STT_GNU_IFUNC]: 'function',
  [STT.STT_OBJECT]: 'object',
};

/** Not sections, files, thread-local variables, nor the marks ($x, $d) between code and data of AArch64. */
const isSomewhere = ({ type, sectionIndex, extended, name }: ElfSymbol): boolean =>
  name !== '' &&
  !/^\$[adtx](?:\.|$)/.test(name) &&
  (type === STT.STT_NOTYPE || TYPES[type] !== undefined) &&
  (extended || (sectionIndex !== SHN.SHN_UNDEF && sectionIndex < SHN.SHN_LORESERVE));
