/**
 * Rules about sections. dyld-1378, mach_o/UnsafeHeader.cpp (validSegment), dyld/ThreadLocalVariables.cpp; what has no effect at run time is by LLVM's and cctools' readers.
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { MH, S } from '../constants.ts';
import { isZeroFill, sectionType } from '../find.ts';
import { commandsEndAsRead } from '../header-room.ts';
import type { MachOSection } from '../model.ts';
import { POINTER_SIZE } from '../opcode-stream.ts';
import { LE } from '../structs.ts';
import {
  bytesOf,
  endOf,
  error,
  few,
  fileEndOf,
  nameOfSection,
  placeOfSection,
  type Rule,
  type Subject,
  sectionsIn,
  strict,
} from './rule.ts';
import { EPOCH } from './sdk.ts';

/** n_sect of a symbol is a byte. */
const MAX_SECTIONS = 255;
/** A descriptor of a thread-local variable: three pointers. */
const TLV_DESCRIPTOR_SIZE = 24n;
/** Read at once when zeros are looked for. */
const CHUNK = 1 << 20;

/** validSegment: a section begins in its segment, and as of SDK 11 ends there. */
function* inSegments({ segments, epoch }: Subject): Iterable<Finding> {
  for (const [segment, section] of sectionsIn(segments)) {
    const name = nameOfSection(section);
    if (section.size >= 2n ** 63n) {
      yield error(
        'MACHO_SECTION_RANGE',
        `size of ${name} is ${hex(section.size)}, expected less than 2^63`,
        placeOfSection(section),
      );
    } else if (section.addr < segment.vmaddr) {
      yield error(
        'MACHO_SECTION_RANGE',
        `${name} begins at ${hex(section.addr)}, expected not before its segment at ${hex(segment.vmaddr)}`,
        placeOfSection(section),
      );
    } else if (sectionEnd(section) > endOf(segment)) {
      const say = epoch >= EPOCH.fall2020 ? error : strict;
      yield say(
        'MACHO_SECTION_RANGE',
        `${name} ends at ${hex(sectionEnd(section))}, expected not after its segment at ${hex(endOf(segment))}`,
        placeOfSection(section),
      );
    }
  }
}

/** Bytes of a section are those that its segment has at its address. */
function* offsets({ file, segments }: Subject): Iterable<Finding> {
  if (file.header.filetype === MH.MH_DSYM) return;
  for (const [segment, section] of sectionsIn(segments)) {
    if (isZeroFill(section) || section.size === 0n || section.addr < segment.vmaddr) continue;
    const name = nameOfSection(section);
    const expected = BigInt(segment.fileoff) + section.addr - segment.vmaddr;
    if (BigInt(section.offset) !== expected) {
      yield strict(
        'MACHO_SECTION_OFFSET',
        `offset of ${name} is ${hex(section.offset)}, expected ${hex(expected)} as its segment has it`,
        placeOfSection(section),
      );
    } else if (expected + section.size > BigInt(fileEndOf(segment))) {
      yield strict(
        'MACHO_SECTION_OFFSET',
        `${name} ends at ${hex(expected + section.size)} of the file, expected within its segment's bytes, which end at ${hex(fileEndOf(segment))}`,
        placeOfSection(section),
      );
    }
  }
}

/** No two sections of a segment share memory. */
function* overlaps({ segments }: Subject): Iterable<Finding> {
  for (const { sections } of segments) {
    const sorted = sections.filter(({ size }) => size > 0n).sort((a, b) => (a.addr < b.addr ? -1 : 1));
    for (const [i, section] of sorted.entries()) {
      const before = sorted[i - 1];
      if (before === undefined || section.addr >= sectionEnd(before)) continue;
      yield strict(
        'MACHO_SECTION_OVERLAP',
        `${nameOfSection(section)} begins at ${hex(section.addr)}, expected after the end ${hex(sectionEnd(before))} of ${nameOfSection(before)}`,
        placeOfSection(section),
      );
    }
  }
}

/** section_64: align is a power of two of which addr is a multiple. */
function* alignment({ segments }: Subject): Iterable<Finding> {
  for (const [, section] of sectionsIn(segments)) {
    if (section.align <= 15 && section.addr % BigInt(2 ** section.align) === 0n) continue;
    yield strict(
      'MACHO_SECTION_ALIGN',
      `addr of ${nameOfSection(section)} is ${hex(section.addr)}, expected a multiple of 2^${section.align}, at most 2^15`,
      placeOfSection(section),
    );
  }
}

/** Each section says of which segment it is; a symbol names one of at most 255. */
function* names({ file, segments }: Subject): Iterable<Finding> {
  const count = segments.reduce((sum, { sections }) => sum + sections.length, 0);
  if (count > MAX_SECTIONS)
    yield strict('MACHO_SECTION_COUNT', `there are ${count} sections, expected at most ${MAX_SECTIONS}`);
  if (file.header.filetype === MH.MH_OBJECT) return;
  for (const [segment, section] of sectionsIn(segments)) {
    if (section.segname === segment.segname) continue;
    yield strict(
      'MACHO_SECTION_NAME',
      `${nameOfSection(section)} is in segment ${JSON.stringify(segment.segname)}, expected the same name`,
      placeOfSection(section),
    );
  }
}

/** S_ZEROFILL says that there are zeros; where the segment has bytes of the file there, those count. */
function* zeroFill({ file, segments, size }: Subject): Iterable<Finding> {
  const { source } = file;
  if (source === undefined || file.header.filetype === MH.MH_OBJECT) return;
  // Sections of a hostile file can all have the same bytes: together they have no more than the file.
  let budget = size;
  for (const [segment, section] of sectionsIn(segments)) {
    // The template of thread-locals has an address, but its zeros are nowhere.
    if (!isZeroFill(section) || sectionType(section) === S.S_THREAD_LOCAL_ZEROFILL) continue;
    const from = section.addr - segment.vmaddr;
    if (from < 0n || from >= BigInt(segment.filesize)) continue;
    const left = BigInt(Math.min(fileEndOf(segment), size) - segment.fileoff) - from;
    const length = Number(section.size < left ? section.size : left);
    const start = segment.fileoff + Number(from);
    budget -= length;
    if (budget < 0) return;
    const at = firstNonZero(source, start, length);
    if (at === undefined) continue;
    yield error(
      'MACHO_ZEROFILL',
      `${nameOfSection(section)} is of zeros, but the file has other bytes for it at ${hex(at)}, expected S_REGULAR`,
      { offset: at, address: section.addr + BigInt(at - start) },
    );
  }
}

function firstNonZero(
  source: { read(offset: number, length: number): Uint8Array },
  start: number,
  length: number,
): number | undefined {
  for (let done = 0; done < length; done += CHUNK) {
    const at = source.read(start + done, Math.min(CHUNK, length - done)).findIndex(byte => byte !== 0);
    if (at >= 0) return start + done + at;
  }
  return undefined;
}

/**
 * ThreadLocalVariables.cpp: "size … is not a multiple of" a descriptor. The second word of each is the key of the
 * variables, which dyld writes; linkers leave it 0, and what a process had in it means nothing in the next.
 */
function* threadLocals({ segments, size, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  let budget = BigInt(size);
  for (const [segment, section] of sectionsIn(segments)) {
    if (sectionType(section) !== S.S_THREAD_LOCAL_VARIABLES) continue;
    if (section.size % TLV_DESCRIPTOR_SIZE !== 0n) {
      yield error(
        'MACHO_THREAD_LOCALS',
        `size of ${nameOfSection(section)} is ${hex(section.size)}, expected a multiple of ${TLV_DESCRIPTOR_SIZE}`,
        placeOfSection(section),
      );
    }
    budget -= section.size;
    if (budget < 0n) return;
    const view = viewOf(bytesOf(segment, section));
    yield* few(keyFaults(view, section));
  }
}

function* keyFaults(view: DataView, section: MachOSection): Iterable<Finding> {
  for (let at = 0; at + Number(TLV_DESCRIPTOR_SIZE) <= view.byteLength; at += Number(TLV_DESCRIPTOR_SIZE)) {
    const key = view.getBigUint64(at + POINTER_SIZE, LE);
    if (key === 0n) continue;
    const index = at / Number(TLV_DESCRIPTOR_SIZE);
    yield strict(
      'MACHO_THREAD_LOCALS',
      `the key of thread-local variable ${index} of ${nameOfSection(section)} is ${hex(key)}, expected 0`,
      { offset: section.offset + at + POINTER_SIZE, address: section.addr + BigInt(at + POINTER_SIZE) },
    );
  }
}

/** LLVM's reader, as the linker of objects: relocations are behind the commands and within the file. */
function* relocations({ file, segments, size }: Subject): Iterable<Finding> {
  for (const [, section] of sectionsIn(segments)) {
    const { reloff, nreloc } = section;
    const end = reloff + RELOCATION_SIZE * nreloc;
    const isBehind = nreloc === 0 || reloff >= commandsEndAsRead(file);
    if (reloff <= size && end <= size && isBehind) continue;
    yield strict(
      'MACHO_SECTION_RELOCATIONS',
      `${nameOfSection(section)} has ${nreloc} relocations at ${hex(reloff)}, expected them behind the load commands and within the file's ${hex(size)} bytes`,
      { offset: reloff },
    );
  }
}

/** struct relocation_info. */
const RELOCATION_SIZE = 8;

export const SECTION_RULES: readonly Rule[] = [
  inSegments,
  offsets,
  overlaps,
  alignment,
  names,
  zeroFill,
  relocations,
  threadLocals,
];

const sectionEnd = ({ addr, size }: MachOSection): bigint => addr + size;
