/**
 * The brk heap of a program that is linked to its address and has an allocator of its own, as Emacs and Lisps had
 * it when unexec was new: data, bss and heap stay where they are. In the new file the heap is a PT_LOAD at its
 * address. The kernel begins the next life's break behind all segments, at a random distance (Linux 6.1,
 * fs/binfmt_elf.c, arch_randomize_brk), so what such an allocator gets then does not continue the old heap; and no
 * two runs have it at one place, so they cannot be compared.
 *
 * A heap of glibc's malloc cannot be kept like this: its structures are in libc.so, which begins anew.
 *
 * @module
 */
import { type ElfFile, ET, newSection, PF, SHF, SHT } from '../../../formats/elf/index.ts';
import { endOfFile, endOfMemory, roundUp } from '../../elf/address-space.ts';
import {
  addLoadAt,
  displacementOf,
  movedHeaders,
  moveProgramHeaders,
  TABLE_ROOM,
} from '../../elf/program-headers.ts';
import { findReserve } from '../../elf/reserve.ts';
import { describeSection } from '../../elf/section-tables.ts';
import { endOf, type MemoryRegion, type Region } from '../../image.ts';
import { mappedModules } from '../../outward-symbols.ts';
import { boundedReader } from '../../zones/bounded-reader.ts';
import { findArenas } from '../../zones/glibc-malloc.ts';
import type { ZoneView } from '../../zones.ts';
import type { Run } from '../restart/found-pointers.ts';
import { isStatic } from './static-libraries.ts';

/** Farther than any kernel moves the break. */
const FARTHEST = 2n ** 31n;
const PAGE = 0x1000;

export const OWN_HEAP_SECTION = '.unexec.brk';

/**
 * Adds the heap as a segment to a program, if it has one that is its own.
 *
 * @param path of the executable
 * @returns whether it has
 */
export function addOwnHeap(file: ElfFile, first: Run, path: string): boolean {
  if (file.header.type !== ET.ET_EXEC || isStatic(file) || findReserve(file) !== undefined) return false;
  const end = endOfMemory(file);
  const heap = first.image.regions.find(
    ({ name, start }) => name === '[heap]' && start >= end && start - end < FARTHEST,
  );
  if (heap === undefined || isOfLibc(first, heap, path)) return false;
  // The program headers go before it where they fit: the file has no hole as wide as the kernel's distance then.
  const behind = BigInt(endOfFile(file)) + displacementOf(file);
  const room = roundUp(end > behind ? end : behind, PAGE) + BigInt(TABLE_ROOM);
  if (movedHeaders(file) === undefined && room <= heap.start) moveProgramHeaders(file);
  const segment = addLoadAt(file, { flags: PF.PF_R | PF.PF_W, address: heap.start, memorySize: heap.size });
  describeSection(
    file,
    newSection({
      name: OWN_HEAP_SECTION,
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_WRITE,
      address: heap.start,
      offset: segment.offset,
      size: heap.size,
      align: 16,
    }),
  );
  return true;
}

/** Whether glibc's malloc has taken memory of the break. */
function isOfLibc({ image }: Run, heap: MemoryRegion, path: string): boolean {
  const regions = image.regions.map(
    (region): Region => ({ ...region, offset: 0, device: '', kind: 'anonymous', flags: new Set() }),
  );
  const view: ZoneView = {
    regions,
    modules: mappedModules(image, path),
    threads: [],
    layout: { startBrk: heap.start, brk: endOf(heap) },
    memory: image.memory,
  };
  return findArenas(view, boundedReader(view)).some(({ main }) => main.state.system_mem > 0n);
}
