/**
 * Rules about where segments lie, in memory and in the file, and in which order. dyld-1378, mach_o/UnsafeHeader.cpp
 * (validSemanticsSegments) with the SDK thresholds of Policy.cpp; xnu-11417, bsd/kern/mach_loader.c (parse_machfile).
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { CPU_TYPE, MH_FLAGS } from '../constants.ts';
import type { SegmentCommand } from '../model.ts';
import {
  endOf,
  error,
  fileEndOf,
  isAligned,
  nameOfSegment,
  placeOf,
  type Rule,
  roundUp,
  type Subject,
  strict,
} from './rule.ts';
import { EPOCH } from './sdk.ts';

/** validSemanticsSegments: no two segments share memory or bytes; from SDK 26 on, nor names. */
function* overlaps({ segments, epoch, isDyldManaged }: Subject): Iterable<Finding> {
  yield* overlapsOf(segments, 'memory', ({ vmaddr }) => vmaddr, endOf);
  yield* overlapsOf(
    segments,
    'bytes of the file',
    ({ fileoff }) => BigInt(fileoff),
    s => BigInt(fileEndOf(s)),
  );
  if (!isDyldManaged || epoch < EPOCH.fall2025) return;
  const seen = new Set<string>();
  for (const segment of segments) {
    if (seen.has(segment.segname)) {
      yield error(
        'MACHO_SEGMENT_NAME',
        `${nameOfSegment(segment)} is there twice, expected names that differ`,
        placeOf(segment),
      );
    }
    seen.add(segment.segname);
  }
}

function* overlapsOf(
  segments: readonly SegmentCommand[],
  what: string,
  startOf: (segment: SegmentCommand) => bigint,
  end: (segment: SegmentCommand) => bigint,
): Iterable<Finding> {
  const sorted = segments
    .filter(segment => end(segment) > startOf(segment))
    .sort((a, b) => (startOf(a) < startOf(b) ? -1 : startOf(a) > startOf(b) ? 1 : 0));
  let last = sorted[0];
  for (const segment of sorted.slice(1)) {
    if (last !== undefined && startOf(segment) < end(last)) {
      yield error(
        'MACHO_SEGMENT_OVERLAP',
        `${what} of ${nameOfSegment(segment)} begin at ${hex(startOf(segment))}, expected after the end ${hex(end(last))} of ${nameOfSegment(last)}`,
        placeOf(segment),
      );
    }
    if (last === undefined || end(segment) > end(last)) last = segment;
  }
}

/**
 * enforceSegmentOrderMatchesLoadCmds: commands in order of file and memory; SDK 26 of executables, 10.15 of
 * others. dyld does not look at the last one; not at addresses of x86_64 executables that are not PIE.
 */
function* order({ file, segments, epoch, isExecutable }: Subject): Iterable<Finding> {
  if (epoch < (isExecutable ? EPOCH.fall2025 : EPOCH.fall2019)) return;
  const { cputype, flags } = file.header;
  const isLegacy = isExecutable && cputype === CPU_TYPE.CPU_TYPE_X86_64 && (flags & MH_FLAGS.MH_PIE) === 0;
  for (const [i, segment] of segments.entries()) {
    const before = segments[i - 1];
    if (before === undefined || i === segments.length - 1) continue;
    if (segment.filesize > 0 && segment.fileoff < before.fileoff) {
      yield error(
        'MACHO_SEGMENT_ORDER',
        `fileoff of ${nameOfSegment(segment)} is ${hex(segment.fileoff)}, expected not less than ${hex(before.fileoff)} of ${nameOfSegment(before)}`,
        placeOf(segment),
      );
    }
    if (segment.vmaddr < before.vmaddr && !isLegacy) {
      yield error(
        'MACHO_SEGMENT_ORDER',
        `vmaddr of ${nameOfSegment(segment)} is ${hex(segment.vmaddr)}, expected not less than ${hex(before.vmaddr)} of ${nameOfSegment(before)}`,
        placeOf(segment),
      );
    }
  }
}

/** Facts of ld(1), codesign(1) and dyld's makers: whatever comes after __LINKEDIT breaks tools. */
function* linkeditLast({ segments, linkedit, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  if (linkedit === undefined) {
    yield error('MACHO_NO_LINKEDIT', 'there is no segment "__LINKEDIT", expected one');
    return;
  }
  const last = segments.findLast(({ filesize }) => filesize > 0);
  if (last === undefined || last === linkedit) return;
  yield strict(
    'MACHO_LINKEDIT_LAST',
    `${nameOfSegment(last)} comes after "__LINKEDIT", expected that to be the last`,
    placeOf(last),
  );
}

/** load_segment: file offsets of whole pages ("we can't mmap() it"); addresses are rounded down, and so wrong. */
function* pages({ segments, pageSize, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  for (const segment of segments) {
    const { fileoff, filesize, vmaddr, vmsize } = segment;
    const name = nameOfSegment(segment);
    if (filesize > 0 && !isAligned(fileoff, pageSize)) {
      yield error(
        'MACHO_SEGMENT_PAGE',
        `fileoff of ${name} is ${hex(fileoff)}, expected a multiple of the page ${hex(pageSize)}`,
        placeOf(segment),
      );
    }
    if (vmsize > 0n && !isAligned(vmaddr, pageSize)) {
      yield error(
        'MACHO_SEGMENT_PAGE',
        `vmaddr of ${name} is ${hex(vmaddr)}, expected a multiple of the page ${hex(pageSize)}`,
        placeOf(segment),
      );
    }
  }
}

/** Segments on one page: the kernel maps whole pages, so that the later one replaces what the earlier one had. */
function* sharedPages({ segments, pageSize, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  const sorted = segments.filter(({ vmsize }) => vmsize > 0n).sort((a, b) => (a.vmaddr < b.vmaddr ? -1 : 1));
  for (const [i, segment] of sorted.entries()) {
    const before = sorted[i - 1];
    const unit = BigInt(pageSize);
    if (before === undefined || endOf(before) % unit === 0n) continue;
    if (segment.vmaddr / unit !== endOf(before) / unit || segment.vmaddr < endOf(before)) continue;
    yield error(
      'MACHO_SEGMENT_PAGE',
      `${nameOfSegment(segment)} begins at ${hex(segment.vmaddr)} on the page on which ${nameOfSegment(before)} ends, expected it on another one`,
      placeOf(segment),
    );
  }
}

/**
 * load_segment: the last page of the file's bytes is mapped whole, and what is behind them in the file is not
 * cleared ("#if FIXME"): where memory goes on as zeros, the file has to have them.
 */
function* tails({ file, segments, linkedit, pageSize, size, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  for (const segment of segments) {
    const { filesize, vmsize } = segment;
    if (segment === linkedit || filesize === 0 || vmsize <= BigInt(filesize)) continue;
    const start = fileEndOf(segment);
    const memoryLeft = vmsize - BigInt(filesize);
    const pageLeft = roundUp(start, pageSize) - start;
    const length = Math.min(size - start, memoryLeft < BigInt(pageLeft) ? Number(memoryLeft) : pageLeft);
    if (length <= 0 || file.source === undefined) continue;
    const at = file.source.read(start, length).findIndex(byte => byte !== 0);
    if (at < 0) continue;
    yield error(
      'MACHO_SEGMENT_TAIL',
      `zeros of ${nameOfSegment(segment)} begin at ${hex(segment.vmaddr + BigInt(filesize))}, but the file goes on with other bytes at ${hex(start + at)}, expected zeros to the end of the page`,
      { offset: start + at, address: segment.vmaddr + BigInt(filesize + at) },
    );
  }
}

export const SEGMENT_PLACE_RULES: readonly Rule[] = [
  overlaps,
  order,
  linkeditLast,
  pages,
  sharedPages,
  tails,
];
