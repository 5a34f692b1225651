/**
 * What of a Mach-O program's memory is dumped, and what stays as the file has it because it belongs to
 * the loader: it is made anew at every start. Facts: mach-o/loader.h (section types), dyld-1378 (what
 * dyld writes to), and Emacs' unexmacosx.c for what twenty years have shown to be the loader's.
 *
 * @module
 */
import {
  type MachOFile,
  type MachOSection,
  S,
  SECTION_TYPE,
  type SegmentCommand,
  SG,
  segmentsOf,
  VM_PROT,
} from '../../../formats/macho/index.ts';
import { joinStretches, type Stretch } from '../../stretches.ts';

/** A writable segment. Offsets are bytes from its `vmaddr`. */
export interface DumpedSegment {
  /** Index among the segment commands. */
  readonly index: number;
  readonly segment: SegmentCommand;
  /** Bytes of memory that are looked at, from `vmaddr` on; what follows is zero. */
  readonly size: number;
  /** What comes from the file, joined. */
  readonly kept: readonly Stretch[];
}

/** A started zone, by addresses of the file. */
export interface ZoneExtent {
  readonly base: bigint;
  readonly reserve: number;
  /** Bytes from `base` that are in use. */
  readonly highWater: number;
}

/**
 * The writable segments, in file order. `zone` is undefined where none was started: the reserve, if there
 * is one, is then all zero. `bound` are offsets of the words of a segment that the loader binds.
 */
export function dumpedSegments(
  file: MachOFile,
  reserve: { readonly base: bigint; readonly size: number } | undefined,
  highWater: number,
  bound: (index: number) => readonly number[],
): DumpedSegment[] {
  return segmentsOf(file).flatMap((segment, index) => {
    if (!isDumped(segment)) return [];
    const slots = bound(index).map(start => ({ start, end: start + WORD }));
    const kept = joinStretches([
      ...segment.sections.filter(isLoaders).map(section => stretchOf(segment, section)),
      ...slots,
    ]);
    return [{ index, segment, size: dumpedSize(segment, reserve, highWater), kept }];
  });
}

const WORD = 8;

/** dyld maps SG_READ_ONLY segments read-only once it has fixed them up: nobody else can have written. */
export const isDumped = ({ segname, initprot, flags, vmsize }: SegmentCommand): boolean =>
  segname !== '__LINKEDIT' &&
  vmsize > 0n &&
  (initprot & VM_PROT.VM_PROT_WRITE) !== 0 &&
  (flags & SG.SG_READ_ONLY) === 0;

/**
 * Sections that the loader fills: pointers that it binds, the template of thread-local variables (what is
 * in memory is the template still; each thread has a copy) and their descriptors, lists of functions that
 * it calls.
 */
const LOADERS_TYPES: ReadonlySet<number> = new Set([
  S.S_NON_LAZY_SYMBOL_POINTERS,
  S.S_LAZY_SYMBOL_POINTERS,
  S.S_LAZY_DYLIB_SYMBOL_POINTERS,
  S.S_MOD_INIT_FUNC_POINTERS,
  S.S_MOD_TERM_FUNC_POINTERS,
  S.S_THREAD_LOCAL_REGULAR,
  S.S_THREAD_LOCAL_ZEROFILL,
  S.S_THREAD_LOCAL_VARIABLES,
  S.S_THREAD_LOCAL_VARIABLE_POINTERS,
  S.S_THREAD_LOCAL_INIT_FUNCTION_POINTERS,
]);

export const sectionType = ({ flags }: Pick<MachOSection, 'flags'>): number => flags & SECTION_TYPE;

export const isLoaders = (section: MachOSection): boolean => LOADERS_TYPES.has(sectionType(section));

/** Whether only the loader writes to the word at an address (of the file). */
export function loadersWords(file: MachOFile): (address: bigint) => boolean {
  const own = segmentsOf(file).flatMap(segment =>
    isDumped(segment)
      ? segment.sections.filter(isLoaders).map(({ addr, size }) => ({ start: addr, end: addr + size }))
      : [{ start: segment.vmaddr, end: segment.vmaddr + segment.vmsize }],
  );
  return address => own.some(({ start, end }) => address >= start && address < end);
}

const stretchOf = ({ vmaddr }: SegmentCommand, { addr, size }: MachOSection): Stretch => ({
  start: Number(addr - vmaddr),
  end: Number(addr - vmaddr + size),
});

/** The reserve is the last thing in its segment, and zero from the zone's high-water mark on. */
function dumpedSize(
  { vmaddr, vmsize }: SegmentCommand,
  reserve: { readonly base: bigint; readonly size: number } | undefined,
  highWater: number,
): number {
  if (reserve === undefined || reserve.base < vmaddr || reserve.base >= vmaddr + vmsize)
    return Number(vmsize);
  return Number(reserve.base - vmaddr) + highWater;
}
