/**
 * Rules about what segments are: sizes, permissions, those that must be there. dyld-1378, mach_o/UnsafeHeader.cpp (validSegment, validSemanticsSegments) with the SDK
 * thresholds of Policy.cpp; xnu-11417, bsd/kern/mach_loader.c (parse_machfile, load_segment).
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { flagNames } from '../../names.ts';
import { LC, MH, SG, VM_PROT } from '../constants.ts';
import { findCommand } from '../find.ts';
import { commandsEndAsRead } from '../header-room.ts';
import { endOf, error, nameOfSegment, placeOf, type Rule, type Subject, strict } from './rule.ts';
import { EPOCH } from './sdk.ts';

const { VM_PROT_READ: R, VM_PROT_WRITE: W, VM_PROT_EXECUTE: X } = VM_PROT;
/** What kernels want to have at address 0, that nobody can touch. */
const ARM_PAGE_ZERO = 0x1_0000_0000n;
const X86_PAGE_ZERO = 0x1000n;

/**
 * "filesize exceeds vmsize"; "vm range wraps". That bytes are in the file is what the reader demands, and tools
 * that also the place of none is.
 */
function* sizes({ file, segments, size }: Subject): Iterable<Finding> {
  for (const segment of segments) {
    const name = nameOfSegment(segment);
    if (segment.fileoff > size) {
      yield strict(
        'MACHO_SEGMENT_PAST_END',
        `fileoff of ${name} is ${hex(segment.fileoff)}, expected within the file's ${hex(size)} bytes`,
        placeOf(segment),
      );
    }
    // Segments that are not mapped (__LLVM, __DWARF of Go) have no memory and no permissions.
    const isMapped = segment.vmsize > 0n || segment.initprot !== 0;
    if (file.header.filetype !== MH.MH_OBJECT && isMapped && BigInt(segment.filesize) > segment.vmsize) {
      yield error(
        'MACHO_SEGMENT_FILESIZE',
        `filesize of ${name} is ${hex(segment.filesize)}, expected at most its vmsize ${hex(segment.vmsize)}`,
        placeOf(segment),
      );
    }
    if (endOf(segment) > 2n ** 64n) {
      yield error(
        'MACHO_SEGMENT_WRAPS',
        `${name} ends at ${hex(endOf(segment))}, expected less than 2^64`,
        placeOf(segment),
      );
    }
  }
}

/** validSegment: permissions that exist, and those that a segment of this name must have. */
function* permissions(subject: Subject): Iterable<Finding> {
  const { segments, isDyldManaged, isArm } = subject;
  for (const segment of segments) {
    const { segname, initprot, maxprot } = segment;
    const name = nameOfSegment(segment);
    if ((initprot & ~7) !== 0) {
      yield error(
        'MACHO_SEGMENT_PROTECTION',
        `initprot of ${name} is ${hex(initprot >>> 0)}, expected only r, w and x`,
        placeOf(segment),
      );
      continue;
    }
    const wanted = isDyldManaged ? wantedProtection(subject, segname) : undefined;
    if (wanted !== undefined && initprot !== wanted) {
      yield error(
        'MACHO_SEGMENT_PROTECTION',
        `initprot of ${name} is ${protection(initprot)}, expected ${protection(wanted)} by the SDK that the file was built with`,
        placeOf(segment),
      );
    }
    if ((initprot & ~maxprot) !== 0) {
      yield strict(
        'MACHO_SEGMENT_PROTECTION',
        `initprot of ${name} is ${protection(initprot)}, expected no more than its maxprot ${protection(maxprot)}`,
        placeOf(segment),
      );
    }
    // vm_map_enter() of arm64 refuses both at once, but for just-in-time code.
    if (isArm && isDyldManaged && (initprot & W) !== 0 && (initprot & X) !== 0) {
      yield error(
        'MACHO_SEGMENT_PROTECTION',
        `initprot of ${name} is ${protection(initprot)}, expected not both w and x on arm64`,
        placeOf(segment),
      );
    }
  }
}

function wantedProtection({ epoch, isExecutable }: Subject, segname: string): number | undefined {
  switch (segname) {
    case '__TEXT':
      return epoch >= EPOCH.fall2019 ? R | X : undefined;
    case '__LINKEDIT':
      return epoch >= (isExecutable ? EPOCH.fall2025 : EPOCH.fall2015) ? R : undefined;
    case '__DATA':
    case '__DATA_CONST':
      return epoch >= EPOCH.fall2025 ? R | W : undefined;
    default:
      return undefined;
  }
}

/** validSegment: "__DATA_CONST segment missing SG_READ_ONLY flag"; load_segment: at most one segment has it. */
function* readOnly({ file, segments, epoch, isDyldManaged }: Subject): Iterable<Finding> {
  const marked = segments.filter(({ flags }) => (flags & SG.SG_READ_ONLY) !== 0);
  const [, second] = marked;
  if (second !== undefined) {
    yield error(
      'MACHO_READ_ONLY',
      `${marked.length} segments have SG_READ_ONLY, expected at most one`,
      placeOf(second),
    );
  }
  const splits =
    file.header.filetype === MH.MH_DYLIB && findCommand(file, LC.LC_SEGMENT_SPLIT_INFO) !== undefined;
  if (!isDyldManaged || splits || epoch < EPOCH.spring2025) return;
  for (const segment of segments) {
    if (segment.segname !== '__DATA_CONST' || (segment.flags & SG.SG_READ_ONLY) !== 0) continue;
    yield error(
      'MACHO_READ_ONLY',
      'flags of segment "__DATA_CONST" are without SG_READ_ONLY, expected it',
      placeOf(segment),
    );
  }
}

/** validSemanticsSegments: __TEXT begins with the file and holds all load commands. */
function* text({ file, text, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  if (text === undefined) {
    yield error('MACHO_TEXT', 'there is no segment "__TEXT", expected one');
    return;
  }
  const end = commandsEndAsRead(file);
  if (text.fileoff !== 0) {
    yield error(
      'MACHO_TEXT',
      `fileoff of segment "__TEXT" is ${hex(text.fileoff)}, expected 0`,
      placeOf(text),
    );
  }
  if (text.filesize < end || text.vmsize < BigInt(end)) {
    yield error(
      'MACHO_TEXT',
      `segment "__TEXT" has ${hex(text.filesize)} bytes, and in memory ${hex(text.vmsize)}, expected the ${hex(end)} of the load commands in it`,
      placeOf(text),
    );
  }
}

/** parse_machfile: exactly one segment maps the start of the file, and it is r-x. */
function* headerSegment({ segments, isExecutable }: Subject): Iterable<Finding> {
  if (!isExecutable) return;
  const found = segments.filter(({ fileoff, filesize }) => fileoff === 0 && filesize > 0);
  const [first] = found;
  if (found.length === 1 && first !== undefined && (first.initprot & (R | X)) === (R | X)) return;
  const says =
    found.map(({ segname, initprot }) => `${segname} ${protection(initprot)}`).join(', ') || 'none';
  yield error('MACHO_HEADER_SEGMENT', `segments that map the header are ${says}, expected one with r and x`);
}

/**
 * load_machfile: enforce_hard_pagezero, LOAD_BADMACHO without: the lowest page, and on arm64 the lowest 4 GiB,
 * belong to nobody.
 */
function* pageZero({ segments, isArm, isExecutable, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isExecutable || !(isArm || isDyldManaged)) return;
  const least = isArm ? ARM_PAGE_ZERO : X86_PAGE_ZERO;
  const zero = segments.find(
    ({ vmaddr, filesize, initprot, maxprot }) =>
      vmaddr === 0n && filesize === 0 && initprot === 0 && maxprot === 0,
  );
  if (zero !== undefined && endOf(zero) >= least) return;
  const found = zero === undefined ? 'missing' : `${hex(zero.vmsize)} bytes`;
  yield error(
    'MACHO_PAGE_ZERO',
    `a segment at 0 without bytes and permissions is ${found}, expected ${hex(least)} bytes of it on ${isArm ? 'arm64' : 'x86_64'}`,
  );
}

export const SEGMENT_RULES: readonly Rule[] = [sizes, permissions, readOnly, text, headerSegment, pageZero];

const protection = (bits: number): string =>
  bits >>> 3 !== 0
    ? flagNames(VM_PROT, bits)
    : `${bits & R ? 'r' : '-'}${bits & W ? 'w' : '-'}${bits & X ? 'x' : '-'}`;
