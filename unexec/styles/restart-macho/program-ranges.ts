/**
 * A Mach-O program as ranges in which pointers are searched, and to which they may lead.
 *
 * @module
 */
import { type MachOFile, MH_FLAGS, segmentsOf } from '../../../formats/macho/index.ts';
import { joinStretches, type Stretch } from '../../stretches.ts';
import type { ProgramRange } from '../restart/found-pointers.ts';
import type { DumpedSegment } from './territory.ts';

/**
 * All segments but __PAGEZERO and __LINKEDIT.
 *
 * @param ignored what is not searched of a segment beside what comes from the file, by its index
 */
export function programRanges(
  file: MachOFile,
  dumped: readonly DumpedSegment[],
  ignored: ReadonlyMap<number, readonly Stretch[]>,
): ProgramRange[] {
  const fixed = (file.header.flags & MH_FLAGS.MH_PIE) === 0;
  return segmentsOf(file).flatMap((segment, index) => {
    if (segment.segname === '__LINKEDIT' || segment.initprot === 0 || segment.vmsize === 0n) return [];
    const own = dumped.find(candidate => candidate.index === index);
    const size = Number(segment.vmsize);
    const skip =
      own && joinStretches([...own.kept, ...(ignored.get(index) ?? []), { start: own.size, end: size }]);
    return [
      {
        index,
        name: segment.segname,
        address: segment.vmaddr,
        size,
        searched: own !== undefined,
        skip: skip ?? [],
        fixed,
      },
    ];
  });
}
