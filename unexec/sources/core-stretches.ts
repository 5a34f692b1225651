/**
 * The memory of a Mach-O core as stretches: what is in the core, and what of the executable's segments is not.
 *
 * @module
 */
import {
  type CoreMemory,
  contentsSize,
  type MachOFile,
  readContents,
  type SegmentCommand,
  segmentsOf,
  VM_PROT,
} from '../../formats/macho/index.ts';
import type { FillSegment } from '../macho/loaded-segments.ts';
import type { MemoryStretch } from './stretch-memory.ts';

/** Bytes [from, to) of a stretch of the core. */
export function stretchOf(
  memory: CoreMemory,
  from = 0,
  to = memory.size,
  segment?: SegmentCommand,
): MemoryStretch {
  const { address, protection, contents } = memory;
  const has = (bit: number): boolean => ((protection | (segment?.initprot ?? 0)) & bit) !== 0;
  const present = contents === undefined ? 0 : contentsSize(contents);
  return {
    start: address + BigInt(from),
    size: to - from,
    // lldb gives cores that it makes of cores no right protections: those of the executable hold too.
    read: has(VM_PROT.VM_PROT_READ),
    write: has(VM_PROT.VM_PROT_WRITE),
    execute: has(VM_PROT.VM_PROT_EXECUTE),
    shared: false,
    inode: 0,
    name: segment?.segname ?? '',
    stored: Math.max(0, Math.min(present, to) - from),
    fill: (offset, into) => {
      if (contents !== undefined) into.set(readContents(contents, from + offset, into.length));
    },
  };
}

/** A segment of the executable where it lies in memory. */
export interface LaidSegment {
  readonly segment: SegmentCommand;
  readonly start: bigint;
  readonly end: bigint;
}

/** Those that are mapped to something, by address. */
export const laidSegments = (file: MachOFile, slide: bigint): LaidSegment[] =>
  segmentsOf(file)
    .filter(({ initprot, vmsize }) => initprot !== 0 && vmsize > 0n)
    .map(segment => ({
      segment,
      start: segment.vmaddr + slide,
      end: segment.vmaddr + slide + segment.vmsize,
    }))
    .sort((a, b) => (a.start < b.start ? -1 : 1));

/** What the core has, cut where segments of the executable begin and end, and named after them. */
export const presentStretches = (
  memory: readonly CoreMemory[],
  laid: readonly LaidSegment[],
): MemoryStretch[] => memory.flatMap(stretch => cutAtSegments(stretch, laid));

function cutAtSegments(memory: CoreMemory, laid: readonly LaidSegment[]): MemoryStretch[] {
  const end = memory.address + BigInt(memory.size);
  const pieces: MemoryStretch[] = [];
  let position = 0;
  const cut = (to: number, segment?: SegmentCommand): void => {
    if (to > position) pieces.push(stretchOf(memory, position, to, segment));
    position = Math.max(position, to);
  };
  for (const { segment, ...place } of laid) {
    if (place.end <= memory.address || place.start >= end) continue;
    if (place.start > memory.address) cut(Number(place.start - memory.address));
    cut(place.end < end ? Number(place.end - memory.address) : memory.size, segment);
  }
  cut(memory.size);
  return pieces;
}

/**
 * What of the executable's segments the core lacks, from the file. It has not been written to.
 */
export function cleanStretches(
  memory: readonly CoreMemory[],
  laid: readonly LaidSegment[],
  fill: FillSegment,
): MemoryStretch[] {
  const stretches: MemoryStretch[] = [];
  let covered = 0n;
  for (const { segment, start, end } of laid) {
    const add = (from: bigint, to: bigint): void => {
      if (to > from)
        stretches.push(cleanStretch(segment, Number(from - start), Number(to - start), start, fill));
    };
    let position = start > covered ? start : covered;
    for (const { address, size } of memory) {
      if (address >= end) break;
      if (address + BigInt(size) <= position) continue;
      add(position, address);
      position = address + BigInt(size);
    }
    add(position, end);
    covered = end > covered ? end : covered;
  }
  return stretches;
}

function cleanStretch(
  segment: SegmentCommand,
  from: number,
  to: number,
  start: bigint,
  fill: FillSegment,
): MemoryStretch {
  const has = (bit: number): boolean => (segment.initprot & bit) !== 0;
  return {
    start: start + BigInt(from),
    size: to - from,
    read: has(VM_PROT.VM_PROT_READ),
    write: has(VM_PROT.VM_PROT_WRITE),
    execute: has(VM_PROT.VM_PROT_EXECUTE),
    shared: false,
    inode: 0,
    name: segment.segname,
    stored: Math.max(0, Math.min(segment.filesize, to) - from),
    fill: (offset, into) => fill(segment, from + offset, into),
  };
}
