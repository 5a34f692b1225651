/**
 * The new file: the library's own, with its writable segments as they were dumped, and three more segments: the
 * code that is called in place of free, the blocks, and the relocations and notes.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import {
  addSection,
  changeDynamic,
  DT,
  Elf64_Dyn,
  Elf64_Phdr,
  type ElfDynamic,
  type ElfFile,
  type ElfSegment,
  encodeDynamic,
  encodeRela,
  findSegment,
  hasFileBytes,
  layoutElf,
  newSection,
  newSegment,
  PF,
  PT,
  patchAddress,
  relaTableOf,
  SHF,
  SHT,
  sectionSize,
  writeElf,
} from '../../../formats/elf/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { writeAll } from '../../chunk-writer.ts';
import { endOfFile, mappableOffset } from '../../elf/address-space.ts';
import { addLoadSegment, moveProgramHeaders } from '../../elf/program-headers.ts';
import { placeSectionTables } from '../../elf/section-tables.ts';
import { UnexecError } from '../../errors.ts';
import { AGAIN_OFFSET, TABLE_DISTANCE } from '../../frozen-allocations/functions.ts';
import { STUBS_X86_64 } from '../../frozen-allocations/x86_64.ts';
import type { DumpedBytes } from './dumped-bytes.ts';
import type { Imports } from './imports.ts';
import type { LibraryFile } from './library-file.ts';
import { planTables } from './new-tables.ts';
import type { RelocationPlan } from './relocation-plan.ts';

/** The new segments of code and blocks, whose addresses all pointers need. */
export interface NewSegments {
  readonly code: ElfSegment;
  readonly heap: ElfSegment;
}

/**
 * Makes room: writable segments move to the end of the file with all of their memory, then come the program
 * headers, the code and the blocks.
 *
 * @param heapSize bytes
 */
export function addSegments(library: LibraryFile, heapSize: number): NewSegments {
  const { file } = library;
  for (const { segment } of library.writable) moveToEnd(file, segment);
  const headers = moveProgramHeaders(file);
  // Of a library that has been frozen before: what its headers did not need is room for more.
  file.kept = file.kept.filter(({ offset }) => !isWithin(headers, offset));
  const size = STUBS_X86_64.length;
  const code = addLoadSegment(file, { flags: PF.PF_R | PF.PF_X, memorySize: size, fileSize: size });
  const heap = addLoadSegment(file, {
    flags: PF.PF_R | PF.PF_W,
    memorySize: heapSize,
    fileSize: heapSize,
  });
  if (heap.address - code.address !== BigInt(TABLE_DISTANCE)) {
    throw new UnexecError('UNSUPPORTED_PAGE', 'the blocks are not on the page after the code');
  }
  return { code, heap };
}

const isWithin = (segment: ElfSegment, offset: number): boolean =>
  offset >= segment.offset && offset < segment.offset + segment.fileSize;

/** Memory that the file did not hold is now in it, and would not fit where the segment was. */
function moveToEnd(file: ElfFile, segment: ElfSegment): void {
  const { offset: from, fileSize, address, memorySize } = segment;
  const isInside = (offset: number, size: number): boolean =>
    offset >= from && offset + size <= from + fileSize;
  const to = mappableOffset(file, address, endOfFile(file));
  file.kept = file.kept.filter(
    ({ offset, contents }) =>
      !isInside(offset, contents instanceof Uint8Array ? contents.length : contents.size),
  );
  const isHere = (at: bigint): boolean => at >= address && at < address + BigInt(memorySize);
  for (const section of file.sections) {
    if ((section.flags & SHF.SHF_ALLOC) === 0 || !isHere(section.address)) continue;
    // .tbss is where it would be, and takes nothing: it stays as far from the others as it was.
    const isTemplate = section.type === SHT.SHT_NOBITS && (section.flags & SHF.SHF_TLS) !== 0;
    if (!isTemplate) section.offset = to + Number(section.address - address);
    else if (section.offset !== undefined) section.offset += to - from;
  }
  for (const other of file.segments) {
    if (other === segment || other.type === PT.PT_LOAD) continue;
    if (isHere(other.address)) other.offset += to - from;
  }
  segment.offset = to;
  segment.fileSize = memorySize;
}

export interface LibraryContents {
  readonly library: LibraryFile;
  readonly segments: NewSegments;
  readonly bytes: DumpedBytes;
  readonly relocations: RelocationPlan;
  readonly imports: Imports;
  /** Relative relocations are compact ones (DT_RELR). */
  readonly compact: boolean;
  /** Address of the function that now returns at once. */
  readonly initialiser: bigint | undefined;
  /** Payload of the notes with owner `unexec`, by type. */
  readonly notes: readonly { readonly type: number; readonly desc: Uint8Array }[];
}

/** Writes the whole file; bytes of it, holes included. */
export async function writeLibrary(contents: LibraryContents, handle: FileHandle): Promise<number> {
  const { library, segments } = contents;
  const { file } = library;
  addCodeAndBlocks(file, segments, contents.bytes);
  if (contents.initialiser !== undefined) stubInitialiser(file, contents.initialiser, segments.code.address);
  addTables(contents);
  fillSections(library, contents.bytes);
  placeSectionTables(file);
  const layout = layoutElf(file);
  await handle.truncate(layout.size);
  for (const { offset, bytes } of writeElf(layout)) await writeAll(handle, bytes, offset);
  return layout.size;
}

function addCodeAndBlocks(file: ElfFile, { code, heap }: NewSegments, bytes: DumpedBytes): void {
  addSection(
    file,
    newSection({
      name: '.unexec.text',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_EXECINSTR,
      address: code.address,
      offset: code.offset,
      align: 64,
      contents: STUBS_X86_64,
    }),
  );
  addSection(
    file,
    newSection({
      name: '.unexec.heap',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_WRITE,
      address: heap.address,
      offset: heap.offset,
      align: 4096,
      contents: bytes.heap,
    }),
  );
}

const ENDBR64 = Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa);
const JMP_REL32 = 0xe9;

/** Its first instruction becomes a jump; where indirect calls are checked, it stays a place to be called. */
function stubInitialiser(file: ElfFile, address: bigint, code: bigint): void {
  const load = file.segments.find(
    segment =>
      segment.type === PT.PT_LOAD &&
      address >= segment.address &&
      address < segment.address + BigInt(segment.fileSize),
  );
  if (load === undefined || (load.flags & PF.PF_X) === 0) {
    throw new UnexecError('INITIALISER_NOT_CODE', `the initialiser at 0x${address.toString(16)} is no code`);
  }
  const jump = new Uint8Array(ENDBR64.length + 5);
  jump.set(ENDBR64);
  const next = address + BigInt(jump.length);
  jump[ENDBR64.length] = JMP_REL32;
  viewOf(jump).setInt32(ENDBR64.length + 1, Number(code + BigInt(AGAIN_OFFSET) - next), true);
  patchAddress(file, address, jump);
}

function addTables(contents: LibraryContents): void {
  const { library, relocations, imports } = contents;
  const { file } = library;
  const { tables, changes } = planTables(contents);
  let size = 0;
  const placed = tables.map(table => {
    const align = table.section.align ?? 1;
    const at = Math.ceil(size / align) * align;
    size = at + table.contents.length;
    return { ...table, at };
  });
  const segment = addLoadSegment(file, { flags: PF.PF_R, memorySize: size, fileSize: size });
  for (const { section, contents: bytes, tag, at } of placed) {
    const address = segment.address + BigInt(at);
    const offset = segment.offset + at;
    const before = library.dynamic.find(entry => entry.tag === tag)?.value;
    const made = newSection({ flags: SHF.SHF_ALLOC, ...section, address, offset, contents: bytes });
    const known = file.sections.find(({ type, address: was }) => type === made.type && was === before);
    if (tag !== undefined) changes.set(tag, address);
    // What is known of it otherwise (sh_link, sh_info) goes on to be true.
    if (known !== undefined) Object.assign(known, { address, offset, contents: bytes, size: bytes.length });
    else addSection(file, made);
    if (known !== undefined && section.info !== undefined) known.info = section.info;
    if (made.type === SHT.SHT_NOTE) {
      const extent = { fileSize: bytes.length, memorySize: bytes.length, align: made.align };
      file.segments.push(newSegment({ type: PT.PT_NOTE, flags: PF.PF_R, address, offset, ...extent }));
    }
  }
  const headers = findSegment(file, PT.PT_PHDR);
  if (headers !== undefined) {
    headers.fileSize = file.segments.length * Elf64_Phdr.size;
    headers.memorySize = headers.fileSize;
  }
  if (library.jmprel.length > 0) {
    const jmprel = library.dynamic.find(({ tag }) => tag === DT.DT_JMPREL)?.value ?? 0n;
    patchAddress(file, jmprel, encodeRela(relaTableOf(relocations.jmprel)));
  }
  const needed = imports.needed.map(offset => ({ tag: DT.DT_NEEDED, value: BigInt(offset) }));
  setDynamic(library, contents.bytes, [...needed, ...changeDynamic(library.dynamic, changes)]);
}

/** Writes the dynamic section into the dump: its place is in a writable segment, and the loader's own. */
function setDynamic(
  { file, writable }: LibraryFile,
  bytes: DumpedBytes,
  entries: readonly ElfDynamic[],
): void {
  const place = findSegment(file, PT.PT_DYNAMIC);
  const index = writable.findIndex(
    ({ segment }) =>
      place !== undefined &&
      place.address >= segment.address &&
      place.address < segment.address + BigInt(segment.memorySize),
  );
  const segment = writable[index]?.segment;
  const into = bytes.segments[index];
  if (place === undefined || segment === undefined || into === undefined) {
    throw new UnexecError('DYNAMIC_NOT_WRITABLE', 'the dynamic section is in no writable segment');
  }
  const room = Math.floor(place.memorySize / Elf64_Dyn.size) - 1;
  if (entries.length > room) {
    throw new UnexecError(
      'NO_DYNAMIC_ROOM',
      `the dynamic section has room for ${room} entries, expected ${entries.length}`,
      { hint: 'link the library with GNU ld, or -Wl,-z,spare-dynamic-tags=8: some entries must be free' },
    );
  }
  into.set(encodeDynamic(entries, place.memorySize), Number(place.address - segment.address));
}

/** Sections of the writable segments get what was dumped; .bss that holds something is no NOBITS any more. */
function fillSections({ file, writable }: LibraryFile, { segments }: DumpedBytes): void {
  for (const [i, { segment }] of writable.entries()) {
    const bytes = segments[i];
    if (bytes === undefined) continue;
    let end = 0;
    for (const section of file.sections) {
      const into = Number(section.address - segment.address);
      if ((section.flags & SHF.SHF_ALLOC) === 0 || into < 0 || into >= bytes.length) continue;
      if (section.type === SHT.SHT_NOBITS && (section.flags & SHF.SHF_TLS) !== 0) continue;
      const contents = bytes.subarray(into, into + sectionSize(section));
      if (section.type === SHT.SHT_NOBITS) {
        // Names have types: a .bss with bytes in the file is what tools complain of.
        section.type = SHT.SHT_PROGBITS;
        section.name = section.name.replace(/^\./, '.unexec.');
        section.nameOffset = undefined;
      }
      section.contents = contents;
      end = Math.max(end, into + contents.length);
    }
    for (const { start, end: to } of uncovered(file, segment, bytes.length)) {
      file.kept.push({ offset: segment.offset + start, contents: bytes.subarray(start, to) });
    }
  }
}

/** Stretches of a segment that are in no section: a linker's padding, which a program may have used. */
function uncovered(file: ElfFile, segment: ElfSegment, size: number): { start: number; end: number }[] {
  const covered = file.sections
    .filter(section => hasFileBytes(section) && (section.flags & SHF.SHF_ALLOC) !== 0)
    .map(section => {
      const start = Number(section.address - segment.address);
      return { start, end: start + sectionSize(section) };
    })
    .filter(({ start, end }) => end > 0 && start < size)
    .sort((x, y) => x.start - y.start);
  const gaps: { start: number; end: number }[] = [];
  let at = 0;
  for (const { start, end } of covered) {
    if (start > at) gaps.push({ start: at, end: start });
    at = Math.max(at, end);
  }
  if (at < size) gaps.push({ start: at, end: size });
  return gaps;
}
