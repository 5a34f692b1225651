/**
 * Anonymous memory that the program may discard. After madvise(MADV_DONTNEED) such memory is zero, and
 * allocators build on that (jemalloc, the garbage collector of SBCL); a private mapping of the image's file
 * would show the frozen contents again. So this memory is read in at the start instead of being mapped.
 *
 * Whether a program discards is told by what its modules import: madvise(2) is called through the C library.
 * glibc itself calls it too, for free chunks, arenas and stacks of threads, and expects nothing of what it finds
 * there. Facts: madvise(2); malloc/arena.c and nptl/allocatestack.c of glibc 2.36.
 *
 * @module
 */
import { SHN } from '../../../formats/elf/index.ts';
import type { Module, ProcessImage, Region } from '../../image.ts';
import { sectionsOfSymbols } from '../../module-symbols.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { type Blocks, cutAtBlocks } from './bulk.ts';
import { isStored, type StoredSpan } from './contents.ts';
import { filePieces, fillRegion } from './mappings.ts';

const DISCARDING = ['madvise', 'posix_madvise'];
/** Runs of pages this near to each other are read with one call. */
const READ_GAP = 4;

/** Regions that must be anonymous memory in the second life too. */
export function discardableRegions(image: ProcessImage): ReadonlySet<Region> {
  const found = image.regions.filter(
    region => region.kind === 'anonymous' && isStored(region) && !region.flags.has('gd'),
  );
  return new Set(found.length > 0 && mayDiscard(image.modules) ? found : []);
}

/** A module imports the call, or the program may have it in itself: one that is linked statically, or resumed. */
const mayDiscard = (modules: readonly Module[]): boolean =>
  modules.length <= 1 ||
  modules.some(module => sectionsOfSymbols(module, DISCARDING, 'dynamic').includes(SHN.SHN_UNDEF));

/** Reads their contents, apart from what lies in blocks. To come after all mappings. */
export function fillDiscardable(
  program: RestoreProgram,
  regions: ReadonlySet<Region>,
  spans: readonly StoredSpan[],
  blocks: Blocks,
  self: Slot,
): void {
  for (const region of regions) {
    const ours = spans.filter(span => span.region === region);
    const stretches = cutAtBlocks(region, blocks).filter(({ inBlock }) => !inBlock);
    const pieces = stretches.flatMap(stretch => ours.flatMap(span => filePieces(span, stretch, READ_GAP)));
    fillRegion(program, region, pieces, self);
  }
}
