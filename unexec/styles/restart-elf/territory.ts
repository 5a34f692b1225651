/**
 * What of an ELF program's memory is dumped, and what stays as the file has it because it belongs to the
 * loader: it is made anew at every start. Facts: gABI 4.1, "Program Loading and Dynamic Linking"; glibc 2.36,
 * elf/dl-reloc.c (RELRO), elf/dl-machine.h (which words relocations write).
 *
 * @module
 */
import {
  DT,
  type ElfDynamic,
  type ElfFile,
  type ElfSegment,
  findSegment,
  PF,
  PT,
  readDynamic,
} from '../../../formats/elf/index.ts';
import { joinStretches, type Stretch } from '../../stretches.ts';

/** A writable PT_LOAD. Offsets are bytes from its p_vaddr. */
export interface DumpedSegment {
  /** Index among the program headers. */
  readonly index: number;
  readonly segment: ElfSegment;
  /** Bytes of memory that are looked at, from p_vaddr on; what follows is zero. */
  readonly size: number;
  /** What comes from the file, joined. */
  readonly kept: readonly Stretch[];
}

/** A stretch of addresses of the file. */
export interface AddressStretch {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Stretches that the loader makes, whatever the relocations say: the dynamic section (DT_DEBUG), what it
 * protects after relocation (RELRO), the template of thread-local variables, lists of functions that it
 * calls, and the first words of the table for lazy binding.
 */
export function loadersStretches(file: ElfFile): AddressStretch[] {
  const dynamic = readDynamic(file);
  const value = (tag: number): bigint | undefined => dynamic.find(entry => entry.tag === tag)?.value;
  const segments = [PT.PT_DYNAMIC, PT.PT_GNU_RELRO].flatMap(type => {
    const segment = findSegment(file, type);
    return segment === undefined ? [] : [extentOf(segment)];
  });
  const tls = findSegment(file, PT.PT_TLS);
  // Its zero-fill tail has no place in memory: what lies there is something else.
  if (tls !== undefined) segments.push({ start: tls.address, end: tls.address + BigInt(tls.fileSize) });
  const got = value(DT.DT_PLTGOT);
  if (got !== undefined) segments.push({ start: got, end: got + 3n * WORD });
  return [...segments, ...functionLists(dynamic)];
}

const WORD = 8n;

function functionLists(dynamic: readonly ElfDynamic[]): AddressStretch[] {
  const lists = [
    [DT.DT_PREINIT_ARRAY, DT.DT_PREINIT_ARRAYSZ],
    [DT.DT_INIT_ARRAY, DT.DT_INIT_ARRAYSZ],
    [DT.DT_FINI_ARRAY, DT.DT_FINI_ARRAYSZ],
  ] as const;
  return lists.flatMap(([at, size]) => {
    const start = dynamic.find(({ tag }) => tag === at)?.value;
    const bytes = dynamic.find(({ tag }) => tag === size)?.value;
    return start === undefined || bytes === undefined ? [] : [{ start, end: start + bytes }];
  });
}

const extentOf = ({ address, memorySize }: ElfSegment): AddressStretch => ({
  start: address,
  end: address + BigInt(memorySize),
});

/**
 * The writable segments, in order of their addresses.
 *
 * @param kept what comes from the file, by its addresses
 * @param heap where the reserve begins, and how much of it is in use
 */
export function dumpedSegments(
  file: ElfFile,
  kept: readonly AddressStretch[],
  heap: { readonly base: bigint; readonly highWater: number } | undefined,
): DumpedSegment[] {
  return file.segments.flatMap((segment, index) => {
    if (segment.type !== PT.PT_LOAD || (segment.flags & PF.PF_W) === 0) return [];
    const { address, memorySize } = segment;
    const end = address + BigInt(memorySize);
    const own = kept
      .filter(stretch => stretch.start < end && stretch.end > address)
      .map(stretch => ({
        start: Math.max(0, Number(stretch.start - address)),
        end: Math.min(memorySize, Number(stretch.end - address)),
      }));
    const isReserve = heap !== undefined && heap.base >= address && heap.base < end;
    const size = isReserve ? Number(heap.base - address) + heap.highWater : memorySize;
    return [{ index, segment, size, kept: joinStretches(own) }];
  });
}
