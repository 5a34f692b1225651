/**
 * Which words of the new file the loader must fix: pointers found in dumped memory, and what the file had
 * wherever its own words stay. Plain data, the same for both encodings; fixup-blobs.ts writes it down.
 *
 * @module
 */
import { type FileBind, type FileFixups, type MachOFile, segmentsOf } from '../../../formats/macho/index.ts';
import { isWithin } from '../../stretches.ts';
import type { AddedBind } from '../restart/outward.ts';
import type { DumpedSegment } from './territory.ts';

/** The fixups of one segment. Offsets are bytes from its `vmaddr`, ascending. */
export interface SegmentFixups {
  /** Pointers into the program whose word comes from memory. */
  readonly dumped: Float64Array;
  /** Pointers into the program whose word comes from the file. */
  readonly kept: Float64Array;
  /** Words that the loader binds, as in the file. */
  readonly bound: Float64Array;
  /** Words in dumped memory that become binds. */
  readonly added: readonly AddedBind<FileBind>[];
}

export interface FixupPlanInput {
  readonly file: MachOFile;
  readonly fixups: FileFixups;
  readonly dumped: readonly DumpedSegment[];
  /** Offsets of the pointers found in the dumped segments, ascending, by index of the segment. */
  readonly found: ReadonlyMap<number, Float64Array>;
  /** Binds of the file that stay. */
  readonly bound: readonly FileBind[];
  /** By index of the segment. */
  readonly added: ReadonlyMap<number, readonly AddedBind<FileBind>[]>;
  /** Words of the file that are no pointers any more, by address. */
  readonly unfixed: ReadonlySet<bigint>;
}

/** The fixups of every segment, by index. */
export function planFixups(input: FixupPlanInput): SegmentFixups[] {
  const { file, fixups, dumped, unfixed } = input;
  const place = placeIn(file);
  const kept: number[][] = segmentsOf(file).map(() => []);
  for (const { address } of fixups.rebases) {
    const { index, offset } = place(address);
    const own = dumped.find(segment => segment.index === index);
    // What is dumped is found anew, or is no pointer any more.
    if (unfixed.has(address) || (own !== undefined && !isWithin(own.kept, offset))) continue;
    kept[index]?.push(offset);
  }
  const bound: number[][] = segmentsOf(file).map(() => []);
  for (const { address } of input.bound) {
    const { index, offset } = place(address);
    bound[index]?.push(offset);
  }
  return segmentsOf(file).map((_, index) => ({
    dumped: input.found.get(index) ?? new Float64Array(),
    kept: Float64Array.from(kept[index] ?? []).sort(),
    bound: Float64Array.from(new Set(bound[index] ?? [])).sort(),
    added: input.added.get(index) ?? [],
  }));
}

/** Finds the segment of an address; fixups come in order, so mostly it is the one of the time before. */
export function placeIn(file: MachOFile): (address: bigint) => { index: number; offset: number } {
  const extents = segmentsOf(file).map(({ vmaddr, vmsize }) => ({ start: vmaddr, end: vmaddr + vmsize }));
  let last = 0;
  return address => {
    const holds = (index: number): boolean => {
      const extent = extents[index];
      return extent !== undefined && address >= extent.start && address < extent.end;
    };
    if (!holds(last))
      last = Math.max(
        0,
        extents.findIndex((_, index) => holds(index)),
      );
    return { index: last, offset: Number(address - (extents[last]?.start ?? 0n)) };
  };
}
