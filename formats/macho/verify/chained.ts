/**
 * Rules about chained fixups beyond those of the reader (versions, formats and bounds). dyld-1378,
 * mach_o/ChainedFixups.cpp (validLinkedit); dyld/Loader.cpp and xnu-11417, osfmk/vm/vm_dyld_pager.c, for page-in
 * linking, which maps whole pages of a segment from the file.
 *
 * @module
 */
import { wholeContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { type ReadChainedFixups, readChainedFixups, type SegmentStarts } from '../chained-fixups.ts';
import { readChains, targetAddress } from '../chained-pointers.ts';
import { VM_PROT } from '../constants.ts';
import { readDylibs } from '../image.ts';
import { findBlob } from '../linkedit.ts';
import type { SegmentCommand } from '../model.ts';
import { ordinalFault } from './opcodes.ts';
import {
  error,
  few,
  imageTest,
  nameOfSegment,
  placeIn,
  placeOf,
  type Rule,
  roundUp,
  type Subject,
  strict,
} from './rule.ts';

/** maxBindOrdinal of the 64-bit formats: "imports_count (%d) exceeds max". */
const MAX_IMPORTS = 0xff_ffff;

/** "seg_count does not match number of segments": ctf_insert's __CTF alone may have come later. */
function* segmentCount(subject: Subject): Iterable<Finding> {
  const { segments } = subject;
  const fixups = fixupsOf(subject);
  if (fixups === undefined || fixups.segments.length === segments.length) return;
  const found = fixups.segments.length;
  if (found < segments.length && segments.at(-1)?.segname === '__CTF') return;
  yield error(
    'MACHO_CHAINED_SEGMENTS',
    `seg_count of the chained fixups is ${found}, expected ${segments.length}, as there are segments`,
  );
}

/** Each table is of the segment that has its index; page sizes are equal; pages are in the file. */
function* starts(subject: Subject): Iterable<Finding> {
  const { segments, text } = subject;
  const fixups = fixupsOf(subject);
  const first = fixups?.segments.find(one => one !== undefined);
  for (const [segment, table] of tablesOf(segments, fixups)) {
    const name = nameOfSegment(segment);
    const expected = segment.vmaddr - (text?.vmaddr ?? 0n);
    if (table.segmentOffset !== expected) {
      yield error(
        'MACHO_CHAINED_STARTS',
        `segment_offset for ${name} is ${hex(table.segmentOffset)}, expected ${hex(expected)}`,
        placeOf(segment),
      );
    }
    if (first !== undefined && table.pageSize !== first.pageSize) {
      yield error(
        'MACHO_CHAINED_STARTS',
        `page_size for ${name} is ${hex(table.pageSize)}, expected ${hex(first.pageSize)} as for the others`,
        placeOf(segment),
      );
    }
    const end = table.pageStarts.length * table.pageSize;
    if (end > roundUp(segment.filesize, table.pageSize)) {
      yield error(
        'MACHO_CHAINED_PAGES',
        `the pages with fixups of ${name} end at ${hex(end)}, expected within its ${hex(segment.filesize)} bytes of the file`,
        placeOf(segment),
      );
    }
    if ((segment.initprot & VM_PROT.VM_PROT_WRITE) === 0) {
      yield error(
        'MACHO_FIXUP_SEGMENT',
        `there are chained fixups in ${name} with initprot ${hex(segment.initprot)}, expected it writable`,
        placeOf(segment),
      );
    }
  }
}

/** "imports_count (%d) exceeds max of %d", and libraries that there are. */
function* imports(subject: Subject): Iterable<Finding> {
  const fixups = fixupsOf(subject);
  if (fixups === undefined) return;
  if (fixups.imports.length >= MAX_IMPORTS) {
    yield error(
      'MACHO_CHAINED_IMPORTS',
      `imports_count is ${fixups.imports.length}, expected less than ${MAX_IMPORTS}`,
    );
  }
  const libraries = readDylibs(subject.file).length;
  yield* few(importFaults(fixups, libraries));
}

function* importFaults({ imports }: ReadChainedFixups, libraries: number): Iterable<Finding> {
  for (const { symbol, libOrdinal } of imports) {
    const finding = ordinalFault(symbol, libOrdinal, libraries, 'the imports');
    if (finding !== undefined) yield finding;
  }
}

/**
 * Every chain, to its end: imports that there are, pointers into the image, and zeros where fixup-chains.h has
 * "reserved … all zeros".
 */
function* chains(subject: Subject): Iterable<Finding> {
  const fixups = fixupsOf(subject);
  if (fixups === undefined) return;
  for (const [segment, table] of tablesOf(subject.segments, fixups)) {
    if (segment.contents !== undefined) yield* few(chainFaults(subject, fixups, segment, table));
  }
}

function* chainFaults(
  { segments, text }: Subject,
  { imports, pointerFormat = 0 }: ReadChainedFixups,
  segment: SegmentCommand,
  table: SegmentStarts,
): Iterable<Finding> {
  const { offsets, targets, binds, reserved } = readChains(table, segment.contents ?? new Uint8Array());
  const whereOf = (offset: number): string => hex(segment.vmaddr + BigInt(offset));
  for (const offset of reserved) {
    yield error(
      'MACHO_CHAINED_RESERVED',
      `reserved bits of the chained fixup at ${whereOf(offset)} are set, expected zeros`,
      placeIn(segment, offset),
    );
  }
  for (const { offset, ordinal } of binds) {
    if (ordinal < imports.length) continue;
    yield error(
      'MACHO_CHAINED_IMPORTS',
      `the bind at ${whereOf(offset)} is of import ${ordinal}, expected less than ${imports.length}`,
      placeIn(segment, offset),
    );
  }
  const base = text?.vmaddr ?? 0n;
  const isInImage = imageTest(segments);
  for (const [i, target] of targets.entries()) {
    const address = targetAddress(pointerFormat, target, base);
    if (isInImage(address)) continue;
    const offset = offsets[i] ?? 0;
    yield strict(
      'MACHO_FIXUP_TARGET',
      `the pointer at ${whereOf(offset)} leads to ${hex(address)}, expected an address of a segment`,
      placeIn(segment, offset),
    );
  }
}

/** The segments that have chains, with their tables. */
function* tablesOf(
  segments: readonly SegmentCommand[],
  fixups: ReadChainedFixups | undefined,
): Iterable<readonly [SegmentCommand, SegmentStarts]> {
  for (const [index, table] of (fixups?.segments ?? []).entries()) {
    const segment = segments[index];
    if (table !== undefined && segment !== undefined) yield [segment, table];
  }
}

function fixupsOf({ file }: Subject): ReadChainedFixups | undefined {
  const blob = findBlob(file, 'chained-fixups');
  const bytes = blob && wholeContents(blob.contents);
  return bytes === undefined || bytes.length === 0 ? undefined : readChainedFixups(bytes);
}

export const CHAINED_RULES: readonly Rule[] = [segmentCount, starts, imports, chains];
