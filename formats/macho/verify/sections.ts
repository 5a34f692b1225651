/**
 * Rules about sections. dyld-1378, mach_o/UnsafeHeader.cpp (validSegment) and Image.cpp (validInitializers);
 * dyld/ThreadLocalVariables.cpp; what has no effect at run time is by LLVM's and cctools' readers.
 *
 * @module
 */
import { readContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { MH, S, VM_PROT } from '../constants.ts';
import { isZeroFill, sectionType } from '../find.ts';
import type { MachOSection, SegmentCommand } from '../model.ts';
import { LE } from '../structs.ts';
import { endOf, error, few, fileEndOf, nameOfSection, type Rule, type Subject, strict } from './rule.ts';
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
        place(section),
      );
    } else if (section.addr < segment.vmaddr) {
      yield error(
        'MACHO_SECTION_RANGE',
        `${name} begins at ${hex(section.addr)}, expected not before its segment at ${hex(segment.vmaddr)}`,
        place(section),
      );
    } else if (sectionEnd(section) > endOf(segment)) {
      const say = epoch >= EPOCH.fall2020 ? error : strict;
      yield say(
        'MACHO_SECTION_RANGE',
        `${name} ends at ${hex(sectionEnd(section))}, expected not after its segment at ${hex(endOf(segment))}`,
        place(section),
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
        place(section),
      );
    } else if (expected + section.size > BigInt(fileEndOf(segment))) {
      yield strict(
        'MACHO_SECTION_OFFSET',
        `${name} ends at ${hex(expected + section.size)} of the file, expected within its segment's bytes, which end at ${hex(fileEndOf(segment))}`,
        place(section),
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
        place(section),
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
      place(section),
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
      place(section),
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

/** validInitializers: whole pointers at whole addresses. */
function* initialisers({ segments, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  for (const [, section] of sectionsIn(segments)) {
    const type = sectionType(section);
    if (type !== S.S_MOD_INIT_FUNC_POINTERS && type !== S.S_MOD_TERM_FUNC_POINTERS) continue;
    if (section.size % 8n === 0n && section.addr % 8n === 0n) continue;
    yield error(
      'MACHO_INITIALISERS',
      `${nameOfSection(section)} is ${hex(section.size)} bytes at ${hex(section.addr)}, expected multiples of 8`,
      place(section),
    );
  }
}

/** validInitializers: offsets of functions from the header, in a section that nobody writes. */
function* initialiserOffsets(subject: Subject): Iterable<Finding> {
  const { segments, size, isDyldManaged } = subject;
  if (!isDyldManaged) return;
  let budget = BigInt(size);
  for (const [segment, section] of sectionsIn(segments)) {
    if (sectionType(section) !== S.S_INIT_FUNC_OFFSETS) continue;
    budget -= section.size;
    if (budget < 0n) return;
    const name = nameOfSection(section);
    if ((segment.initprot & VM_PROT.VM_PROT_WRITE) !== 0) {
      yield error(
        'MACHO_INITIALISERS',
        `${name} is in a writable segment, expected a read-only one`,
        place(section),
      );
    }
    if (section.size % 4n !== 0n || section.addr % 4n !== 0n) {
      yield error(
        'MACHO_INITIALISERS',
        `${name} is ${hex(section.size)} bytes at ${hex(section.addr)}, expected multiples of 4`,
        place(section),
      );
      continue;
    }
    yield* few(offsetFaults(subject, segment, section));
  }
}

function* offsetFaults(
  { segments, text }: Subject,
  segment: SegmentCommand,
  section: MachOSection,
): Iterable<Finding> {
  const from = Number(section.addr - segment.vmaddr);
  if (!segment.contents || from < 0 || from + Number(section.size) > segment.filesize) return;
  const view = viewOf(readContents(segment.contents, from, Number(section.size)));
  for (let at = 0; at + 4 <= view.byteLength; at += 4) {
    const target = (text?.vmaddr ?? 0n) + BigInt(view.getUint32(at, LE));
    if (isExecutableAddress(segments, target)) continue;
    yield error(
      'MACHO_INITIALISERS',
      `initialiser ${at / 4} of ${nameOfSection(section)} is ${hex(target)}, expected an address of an executable segment`,
      {
        offset: section.offset + at,
        address: section.addr + BigInt(at),
      },
    );
  }
}

export const isExecutableAddress = (segments: readonly SegmentCommand[], address: bigint): boolean =>
  segments.some(
    segment =>
      (segment.initprot & VM_PROT.VM_PROT_EXECUTE) !== 0 &&
      address >= segment.vmaddr &&
      address < endOf(segment),
  );

/** ThreadLocalVariables.cpp: "size … is not a multiple of" a descriptor. */
function* threadLocals({ segments, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  for (const [, section] of sectionsIn(segments)) {
    if (sectionType(section) !== S.S_THREAD_LOCAL_VARIABLES || section.size % TLV_DESCRIPTOR_SIZE === 0n)
      continue;
    yield error(
      'MACHO_THREAD_LOCALS',
      `size of ${nameOfSection(section)} is ${hex(section.size)}, expected a multiple of ${TLV_DESCRIPTOR_SIZE}`,
      place(section),
    );
  }
}

export const SECTION_RULES: readonly Rule[] = [
  inSegments,
  offsets,
  overlaps,
  alignment,
  names,
  zeroFill,
  initialisers,
  initialiserOffsets,
  threadLocals,
];

function* sectionsIn(segments: readonly SegmentCommand[]): Iterable<readonly [SegmentCommand, MachOSection]> {
  for (const segment of segments) for (const section of segment.sections) yield [segment, section];
}

const sectionEnd = ({ addr, size }: MachOSection): bigint => addr + size;
const place = ({ offset, addr }: MachOSection): { offset: number; address: bigint } => ({
  offset,
  address: addr,
});
