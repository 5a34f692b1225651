/**
 * A Mach-O file described: `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import { contentsSize } from '../contents.ts';
import { toNumber } from '../errors.ts';
import {
  CPU_SUBTYPE_ARM64,
  CPU_SUBTYPE_MASK,
  CPU_TYPE,
  MH,
  N_MASK,
  S,
  S_ATTR,
  VM_PROT,
} from '../macho/constants.ts';
import { isZeroFill, sectionsOf, sectionType, segmentsOf } from '../macho/find.ts';
import type { MachOFile, MachOSection, SegmentCommand } from '../macho/model.ts';
import { readNotes } from '../macho/notes.ts';
import { readMachO } from '../macho/read.ts';
import { mach_header_64 } from '../macho/structs.ts';
import { isInSection, readSymbols } from '../macho/symbols.ts';
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

/**
 * `start`: where in the file the image begins; `image`: its index.
 *
 * @throws FormatError as `readMachO` does; `OUT_OF_RANGE` for sizes beyond 2^53
 */
export function describeMachO(source: ByteSource, start: number, image: number): DescribedImage {
  const file = readMachO(source);
  const segments = segmentsOf(file).map(segment => describeSegment(segment, start));
  const found = sectionsIn(file, start);
  const ranges = loadedRanges(file);
  const loaded = new LoadedRanges(ranges);
  const parts = partsOf(source, fileClaims(file, found), loaded, start, image);
  return {
    format: 'Mach-O',
    kind: kindOf(file),
    arch: archOf(file.header.cputype, file.header.cpusubtype),
    offset: start,
    size: source.size,
    segments,
    sections: found.map(({ described }) => described),
    parts,
    memory: memoryOf(memoryClaims(file, found, ranges), start),
    isRelocatable: false,
    readSymbols: () => symbolsOf(file),
  };
}

/** `x86_64`, `arm64`, `arm64e`, as lipo(1) names them. */
function archOf(cputype: number, cpusubtype: number): string {
  const isArm64e =
    cputype === CPU_TYPE.CPU_TYPE_ARM64 &&
    (cpusubtype & ~CPU_SUBTYPE_MASK) === CPU_SUBTYPE_ARM64.CPU_SUBTYPE_ARM64E;
  return isArm64e ? 'arm64e' : nameOf(CPU_TYPE, cputype).replace('CPU_TYPE_', '').toLowerCase();
}

const KINDS: Readonly<Record<number, string>> = {
  [MH.MH_EXECUTE]: 'executable',
  [MH.MH_OBJECT]: 'relocatable',
  [MH.MH_DYLIB]: 'shared library',
  [MH.MH_DSYM]: 'debug file',
};

const kindOf = ({ header }: MachOFile): string =>
  KINDS[header.filetype] ?? nameOf(MH, header.filetype).replace('MH_', '').toLowerCase();

const protectionOfBits = (bits: number): string =>
  protectionOf(
    (bits & VM_PROT.VM_PROT_READ) !== 0,
    (bits & VM_PROT.VM_PROT_WRITE) !== 0,
    (bits & VM_PROT.VM_PROT_EXECUTE) !== 0,
  );

const memorySizeOf = ({ segname, vmsize }: SegmentCommand): number =>
  toNumber(`Mach-O: vmsize of segment ${JSON.stringify(segname)}`, vmsize);

const describeSegment = (segment: SegmentCommand, start: number): SegmentDescription => ({
  name: segment.segname,
  offset: start + segment.fileoff,
  fileSize: segment.filesize,
  address: segment.vmaddr,
  memorySize: memorySizeOf(segment),
  protection: protectionOfBits(segment.initprot),
});

interface FoundSection {
  readonly section: MachOSection;
  readonly segment: number;
  /** Bytes in the file. */
  readonly fileSize: number;
  readonly described: SectionDescription;
}

/** A debug file has its sections' headers, and only some of their bytes. */
function sectionsIn(file: MachOFile, start: number): FoundSection[] {
  return segmentsOf(file).flatMap((segment, index) =>
    segment.sections.map(section => {
      const { segname, sectname, addr, offset } = section;
      const name = `${segname},${sectname}`;
      const size = toNumber(`Mach-O: size of section ${name}`, section.size);
      const within = offset >= segment.fileoff && offset + size <= segment.fileoff + segment.filesize;
      const fileSize = isZeroFill(section) || !within ? 0 : size;
      const described = {
        name,
        type: nameOf(S, sectionType(section)),
        offset: fileSize > 0 ? start + offset : undefined,
        fileSize,
        address: addr,
        memorySize: size,
        protection: protectionOfBits(segment.initprot),
      };
      return { section, segment: index, fileSize, described };
    }),
  );
}

const loadedRanges = (file: MachOFile): LoadedRange[] =>
  segmentsOf(file).map((segment, index) => ({
    index,
    offset: segment.fileoff,
    fileSize: segment.filesize,
    address: segment.vmaddr,
    memorySize: memorySizeOf(segment),
    protection: protectionOfBits(segment.initprot),
    hasSections: segment.sections.length > 0 || segment.segname === '__LINKEDIT',
  }));

const RELOCATION_SIZE = 8;

function fileClaims(file: MachOFile, sections: readonly FoundSection[]): Claim<number, FileClaim>[] {
  const claims: Claim<number, FileClaim>[] = [];
  const add = (rank: number, start: number, size: number, value: FileClaim): void => {
    claims.push({ start, end: start + size, rank, value });
  };
  add(RANK.HEADER, 0, mach_header_64.size, { kind: 'header', name: 'Mach-O header' });
  add(RANK.HEADER, mach_header_64.size, file.header.sizeofcmds, { kind: 'header', name: 'load commands' });
  for (const [index, { section, fileSize, described }] of sections.entries()) {
    const { name, address, protection } = described;
    add(RANK.SECTION, section.offset, fileSize, {
      kind: 'section',
      name,
      address,
      protection,
      section: index,
    });
    add(RANK.LINKEDIT, section.reloff, section.nreloc * RELOCATION_SIZE, {
      kind: 'linkedit',
      name: 'relocations',
    });
  }
  for (const { owner, offset, size } of readNotes(file)) {
    add(RANK.NOTE, offset, size, { kind: 'note', name: `LC_NOTE ${owner}` });
  }
  for (const { kind, offset = 0, contents } of file.linkedit) {
    add(RANK.LINKEDIT, offset, contentsSize(contents), { kind: 'linkedit', name: kind });
  }
  for (const { segname, fileoff, filesize, initprot } of segmentsOf(file)) {
    const name = segname === '' ? `segment ${protectionOfBits(initprot)}` : segname;
    add(RANK.SEGMENT, fileoff, filesize, { kind: 'segment', name });
  }
  return claims;
}

function memoryClaims(
  file: MachOFile,
  sections: readonly FoundSection[],
  ranges: readonly LoadedRange[],
): Claim<bigint, MemoryClaim>[] {
  const claims: Claim<bigint, MemoryClaim>[] = [];
  const add = (rank: number, start: bigint, size: number, value: MemoryClaim): void => {
    claims.push({ start, end: start + BigInt(size), rank, value });
  };
  const isDebug = file.header.filetype === MH.MH_DSYM;
  const without = isDebug ? 'absent' : 'zero';
  const loaded = new LoadedRanges(ranges);
  const inFile = (
    offset: number,
    size: number,
    rank: number,
    kind: MemoryClaim['kind'],
    name: string,
  ): void => {
    const range = loaded.atOffset(offset);
    if (range === undefined || isDebug) return;
    const into = offset - range.offset;
    const { protection, index: segment } = range;
    const value = { kind, name, backing: 'file', offset, protection, section: undefined, segment } as const;
    add(rank, range.address + BigInt(into), Math.min(size, range.fileSize - into), value);
  };

  inFile(0, mach_header_64.size, RANK.HEADER, 'header', 'Mach-O header');
  inFile(mach_header_64.size, file.header.sizeofcmds, RANK.HEADER, 'header', 'load commands');
  for (const [index, { section, segment, fileSize, described }] of sections.entries()) {
    const { name, memorySize, protection = '---' } = described;
    add(RANK.SECTION, section.addr, memorySize, {
      kind: 'section',
      name,
      backing: fileSize > 0 ? 'file' : without,
      offset: fileSize > 0 ? section.offset : undefined,
      protection,
      section: index,
      segment,
    });
  }
  for (const { kind, offset = 0, contents } of file.linkedit) {
    inFile(offset, contentsSize(contents), RANK.LINKEDIT, 'linkedit', kind);
  }
  const segments = segmentsOf(file);
  for (const { index, address, offset, fileSize, memorySize, protection, hasSections } of ranges) {
    // Memory that nobody may touch (__PAGEZERO) is a hole on purpose.
    if (fileSize === 0 && protection === '---' && segments[index]?.segname === '__PAGEZERO') continue;
    const value = {
      kind: hasSections ? 'gap' : 'segment',
      name: hasSections ? 'padding' : segments[index]?.segname || `segment ${protection}`,
      protection,
      section: undefined,
      segment: index,
      offset: undefined,
    } as const;
    const there = Math.min(fileSize, memorySize);
    add(RANK.SEGMENT, address, there, { ...value, backing: 'file', offset });
    add(RANK.SEGMENT, address + BigInt(there), memorySize - there, { ...value, backing: without });
  }
  return claims;
}

const symbolsOf = (file: MachOFile): RawSymbol[] => {
  const sections = sectionsOf(file);
  return readSymbols(file)
    .filter(symbol => symbol.name !== '' && isInSection(symbol))
    .map(({ name, value, type, section }) => ({
      name,
      position: value,
      size: 0,
      type: isCode(sections[section - 1]) ? 'function' : 'object',
      isGlobal: (type & N_MASK.N_EXT) !== 0,
    }));
};

const isCode = (section: MachOSection | undefined): boolean =>
  section !== undefined && (section.flags & S_ATTR.S_ATTR_PURE_INSTRUCTIONS) !== 0;
