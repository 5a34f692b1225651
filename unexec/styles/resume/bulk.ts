/**
 * Blocks of memory that are read in at the start, in one go and into huge pages, instead of being taken
 * as a page fault each. A training run tells which pages the program touches; a block of 2 MiB is
 * worth it when the faults that it saves cost more than filling it. Facts: measured on Linux 6.18 in a
 * virtual machine (`npm run bench`; per page: a copy-on-write fault 1.7 us, the same within one
 * madvise(MADV_POPULATE_WRITE) 1.5 us, a read into a huge page 0.3 us, of which the zeroing is half),
 * and Documentation/admin-guide/mm/transhuge.rst.
 *
 * A block may be larger than the regions in it: it is mapped before all regions, which then cut away
 * what is not theirs. The huge page stays, mapped in pieces.
 *
 * @module
 */
import { endOf, PAGE, type PageRange, type Region } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import type { TouchedPages } from '../../touched-pages.ts';
import { isStored, mergeRanges, type StoredSpan } from './contents.ts';
import { readContents } from './read-contents.ts';
import { NR } from './system-calls.ts';

export const BLOCK = 2 << 20;
const BLOCK_BIG = BigInt(BLOCK);
const BLOCK_PAGES = BLOCK / PAGE;

/** Costs in nanoseconds, as measured (see above); only their ratios matter. */
const COST = {
  /** A page that is written: the fault with its copy, and its release at the end. */
  written: 1900,
  /** A read fault maps up to 16 pages around it (fault_around_bytes). */
  read: 2000 / 16,
  /** A huge page: allocated, zeroed, released. */
  block: 70_000,
  /** A stored page read into it. */
  stored: 170,
} as const;

/** Stored pages this near to each other are read with one call, the zero pages between them too. */
const READ_GAP = 4;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
const MADV_HUGEPAGE = 14;

/** Start addresses of the chosen blocks, ascending. */
export type Blocks = ReadonlySet<bigint>;

export const blockOf = (address: bigint): bigint => address & ~(BLOCK_BIG - 1n);

/** Private memory that may be read and written, and has no nature of its own. */
export const mayBeBulk = (region: Region): boolean =>
  region.read &&
  region.write &&
  !region.execute &&
  !region.shared &&
  isStored(region) &&
  !region.flags.has('gd') &&
  !region.flags.has('nr') &&
  !region.flags.has('nh') &&
  !region.flags.has('lo');

/** Chooses the blocks that are worth it. */
export function chooseBlocks(
  regions: readonly Region[],
  spans: readonly StoredSpan[],
  touched: readonly TouchedPages[],
): Blocks {
  const lazy = new Map<bigint, number>();
  const bulk = new Map<bigint, number>();
  for (const { region, written, read } of touched) {
    if (!mayBeBulk(region)) continue;
    addPages(lazy, region.start, written, COST.written);
    addPages(lazy, region.start, read, COST.read);
  }
  for (const span of spans) {
    if (mayBeBulk(span.region)) addPages(bulk, span.address, span.runs, COST.stored);
  }
  const taken = regions.filter(({ kind, flags }) => kind === 'vdso' || kind === 'vvar' || flags.has('gd'));
  const isFree = (block: bigint): boolean =>
    taken.every(region => endOf(region) <= block || block + BLOCK_BIG <= region.start);
  const chosen = [...lazy]
    .filter(([block, cost]) => cost > COST.block + (bulk.get(block) ?? 0) && isFree(block))
    .map(([block]) => block);
  return new Set(chosen.sort((a, b) => (a < b ? -1 : 1)));
}

/** Adds the cost of pages to the blocks that they lie in. */
function addPages(
  costs: Map<bigint, number>,
  start: bigint,
  ranges: readonly PageRange[],
  cost: number,
): void {
  for (const { first, count } of ranges) {
    let address = start + BigInt(first * PAGE);
    for (let left = count; left > 0; ) {
      const block = blockOf(address);
      const here = Math.min(left, BLOCK_PAGES - Number(address - block) / PAGE);
      costs.set(block, (costs.get(block) ?? 0) + here * cost);
      address += BigInt(here * PAGE);
      left -= here;
    }
  }
}

/** A stretch of a region that lies wholly inside, or wholly outside, of the blocks. */
export interface Stretch {
  readonly start: bigint;
  readonly size: number;
  readonly inBlock: boolean;
}

/** Cuts a region at the edges of the blocks. */
export function cutAtBlocks(region: Region, blocks: Blocks): Stretch[] {
  if (blocks.size === 0 || !mayBeBulk(region))
    return [{ start: region.start, size: region.size, inBlock: false }];
  const stretches: Stretch[] = [];
  const end = endOf(region);
  for (let at = region.start; at < end; ) {
    const block = blockOf(at);
    const inBlock = blocks.has(block);
    const next = block + BLOCK_BIG < end ? block + BLOCK_BIG : end;
    const last = stretches.at(-1);
    if (last !== undefined && last.inBlock === inBlock) {
      stretches[stretches.length - 1] = { ...last, size: last.size + Number(next - at) };
    } else {
      stretches.push({ start: at, size: Number(next - at), inBlock });
    }
    at = next;
  }
  return stretches;
}

/** Maps the blocks, neighbours together, and reads the stored pages of their regions into them. */
export function blockSteps(
  program: RestoreProgram,
  blocks: Blocks,
  spans: readonly StoredSpan[],
  self: Slot,
): void {
  for (const { start, size } of joinBlocks(blocks)) {
    program.syscall('map a block', NR.mmap, [
      start,
      size,
      PROT_READ_WRITE,
      MAP_PRIVATE_FIXED_ANONYMOUS,
      -1,
      0,
    ]);
    program.syscall('huge pages', NR.madvise, [start, size, MADV_HUGEPAGE], { bestEffort: true });
  }
  for (const span of spans) {
    if (!mayBeBulk(span.region)) continue;
    for (const run of mergeRanges(span.runs, READ_GAP)) {
      readRun(program, blocks, span, run, self);
    }
  }
}

function readRun(
  program: RestoreProgram,
  blocks: Blocks,
  span: StoredSpan,
  run: PageRange,
  self: Slot,
): void {
  const start = span.address + BigInt(run.first * PAGE);
  const end = start + BigInt(run.count * PAGE);
  let from: bigint | undefined;
  const flush = (to: bigint): void => {
    if (from === undefined) return;
    const fileOffset = span.fileOffset + Number(from - span.address);
    readContents(program, 'read a block', { address: from, size: Number(to - from), fileOffset }, self);
    from = undefined;
  };
  for (let at = start; at < end; at = blockOf(at) + BLOCK_BIG) {
    if (blocks.has(blockOf(at))) from ??= at;
    else flush(at);
  }
  flush(end);
}

/** Unmaps what the blocks cover beyond their regions. To come after all mappings. */
export function trimSteps(program: RestoreProgram, blocks: Blocks, regions: readonly Region[]): void {
  for (const { start, size } of joinBlocks(blocks)) {
    const end = start + BigInt(size);
    let at = start;
    for (const region of regions) {
      if (endOf(region) <= at || region.start >= end) continue;
      if (region.start > at) program.syscall('trim a block', NR.munmap, [at, region.start - at]);
      at = endOf(region);
    }
    if (at < end) program.syscall('trim a block', NR.munmap, [at, end - at]);
  }
}

function joinBlocks(blocks: Blocks): { start: bigint; size: number }[] {
  const joined: { start: bigint; size: number }[] = [];
  for (const block of blocks) {
    const last = joined.at(-1);
    if (last !== undefined && last.start + BigInt(last.size) === block) {
      joined[joined.length - 1] = { start: last.start, size: last.size + BLOCK };
    } else {
      joined.push({ start: block, size: BLOCK });
    }
  }
  return joined;
}
