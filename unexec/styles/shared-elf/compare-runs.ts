/**
 * What a library and its blocks hold, from two runs: constants, pointers into themselves, pointers to what
 * others export, and what must be refused. Addresses of the file (p_vaddr) for the library's variables, and a
 * number and an offset for blocks, which get their addresses later.
 *
 * @module
 */
import { type ElfRelocation, PT } from '../../../formats/elf/index.ts';
import { BLOCK_STATE, findBlocks } from '../../blocks.ts';
import { type Module, PAGE } from '../../image.ts';
import { diagnose } from '../../pointers/diagnose.ts';
import {
  comparePointers,
  type PairedModule,
  type PairedRange,
  type Skipped,
  type UnexplainedWord,
} from '../../pointers.ts';
import type { LibraryRun } from '../../sources/load-library.ts';
import { boundedReader } from '../../zones/bounded-reader.ts';
import { findArenas } from '../../zones/glibc-malloc.ts';
import { byValue } from '../../zones/regions.ts';
import { blockRanges } from './block-ranges.ts';
import { isStillBound, type ReadRun, readRun, symbolicRelocations } from './bound-words.ts';
import { type LibraryFile, writableAt } from './library-file.ts';
import { BlockPairs } from './pair-blocks.ts';
import { bytesBeforeRemains } from './remains.ts';
import { RunMemory } from './run-memory.ts';

/** Stretches of the library's variables that the user gives up: file addresses. */
export interface Scratch {
  readonly address: bigint;
  readonly size: number;
}

export interface ComparedRuns {
  readonly a: ReadRun;
  readonly b: ReadRun;
  readonly pairs: BlockPairs;
  /** Words of the first run that are pointers into the library or its blocks: their addresses in that run. */
  readonly inward: readonly number[];
  /** Words that lead out. */
  readonly outward: readonly OutwardWord[];
  /** Words that are to be zero: their addresses in the first run. They lead to freed memory, or are scratch. */
  readonly zeroed: readonly number[];
  /** How many of these lead to what malloc had taken back. */
  readonly dangling: number;
  /** Words of which only the lower bytes are kept: address in the first run, and how many. */
  readonly remains: readonly { readonly at: number; readonly bytes: number }[];
  /** Words that cannot be explained. */
  readonly unexplained: readonly UnexplainedPair[];
  /** All of them; only the first are listed. */
  readonly unexplainedCount: number;
  /** Relocations of words that the library may write, and that still hold what the loader put there. */
  readonly bound: readonly ElfRelocation[];
}

export interface OutwardWord {
  /** Address of the word in the first run. */
  readonly at: number;
  readonly value: bigint;
  /** Undefined: no module, but `name` says what it is. */
  readonly module: Module | undefined;
  readonly name: string;
}

export interface UnexplainedPair {
  readonly at: number;
  readonly value1: bigint;
  readonly value2: bigint;
  readonly why: string;
}

const WORD = 8;
const ADDRESS_MASK = 0xffff_ffff_ffffn;
/** Pointers that are not aligned lead to blocks with more of them: a serialised list is rarely deeper. */
const MOST_ROUNDS = 8;
const LISTED = 100;
const ALL = Number.POSITIVE_INFINITY;

/** Compares two runs of a library that has been loaded and initialised. */
export function compareRuns(
  library: LibraryFile,
  runs: { readonly a: LibraryRun; readonly b: LibraryRun },
  { scratch, clearRemains }: { readonly scratch: readonly Scratch[]; readonly clearRemains: boolean },
): ComparedRuns {
  const a = readRun(library, runs.a, new RunMemory(runs.a.view.memory));
  const b = readRun(library, runs.b, new RunMemory(runs.b.view.memory));
  const bound = [...symbolicRelocations(library)].filter(relocation => {
    const place = writableAt(library, relocation.offset);
    return (
      place !== undefined &&
      !place.isLoaders &&
      isStillBound(library, a, relocation) &&
      isStillBound(library, b, relocation)
    );
  });
  const skips = library.writable.map(({ segment, loaders }) =>
    joined([
      ...loaders,
      ...[...bound.map(({ offset }) => ({ address: offset, size: WORD })), ...scratch]
        .map(({ address, size }) => ({ start: Number(address - segment.address), size }))
        .filter(({ start }) => start >= 0 && start < segment.memorySize)
        .map(({ start, size }) => ({ start, end: start + size })),
    ]),
  );

  const pairs = new BlockPairs(
    { memory: a.memory, blocks: findBlocks(runs.a.view) },
    { memory: b.memory, blocks: findBlocks(runs.b.view) },
  );
  for (const [i, { segment }] of library.writable.entries()) {
    for (const { start, end } of gapsOf(skips[i] ?? [], segment.memorySize)) {
      // The segment itself need not begin at a word.
      const lead = Number(segment.address % BigInt(WORD));
      const from = Math.ceil((start + lead) / WORD) * WORD - lead;
      pairs.follow({
        a: Number(runs.a.library.bias + segment.address) + from,
        b: Number(runs.b.library.bias + segment.address) + from,
        size: end - from,
      });
    }
  }
  if (runs.a.returned !== undefined && runs.b.returned !== undefined) {
    pairs.followPointer(0, Number(runs.a.returned & ADDRESS_MASK), Number(runs.b.returned & ADDRESS_MASK));
  }

  for (let round = 0; ; round++) {
    const found = compareOnce(library, a, b, pairs, skips, clearRemains ? ALL : LISTED);
    if (round === MOST_ROUNDS || !followUnaligned(found, a, b, pairs))
      return settle(found, { a, b, pairs, bound }, clearRemains);
  }
}

type Found = ReturnType<typeof compareOnce>;

function compareOnce(
  library: LibraryFile,
  a: ReadRun,
  b: ReadRun,
  pairs: BlockPairs,
  skips: readonly (readonly Skipped[])[],
  listed: number,
) {
  const writable = new Map(library.writable.map(({ segment }, i) => [segment, skips[i] ?? []]));
  const segments = library.file.segments
    .filter(({ type, memorySize }) => type === PT.PT_LOAD && memorySize > 0)
    .map(segment => {
      const skip = writable.get(segment);
      return {
        name: 'library',
        start1: a.run.library.bias + segment.address,
        start2: b.run.library.bias + segment.address,
        size: segment.memorySize,
        searched: skip !== undefined,
        skip: skip ?? [],
      };
    });
  const ranges: PairedRange[] = [...segments, ...blockRanges(pairs)];
  const outside = pairedModules(a.run, b.run);
  const comparison = comparePointers({
    ranges,
    image: {
      a: { regions: a.run.view.regions, memory: a.memory },
      b: { regions: b.run.view.regions, memory: b.memory },
    },
    outside,
    listed,
  });
  return { comparison, ranges, outside, places: [...ranges, ...outside] };
}

/** Modules and what else is told by a name, in both runs. */
function pairedModules(a: LibraryRun, b: LibraryRun): (PairedModule & { readonly module?: Module })[] {
  const modules = a.view.modules
    .filter(({ path }) => path !== a.library.path)
    .flatMap(module => {
      const other = b.view.modules.find(({ path }) => path === module.path);
      if (other === undefined) return [];
      const size = Number(module.end - module.start);
      return [{ name: module.path, start1: module.start, start2: other.start, size, module }];
    });
  const named = a.view.regions
    .filter(({ kind }) => kind === 'heap' || kind === 'stack' || kind === 'vdso')
    .flatMap(region => {
      const other = b.view.regions.find(({ name }) => name === region.name);
      if (other === undefined || other.start === region.start) return [];
      return [{ name: region.name, start1: region.start, start2: other.start, size: region.size }];
    });
  const [code1, code2] = [a, b].map(({ replaced }) => [...replaced.keys()].sort(byValue)[0]);
  const replaced =
    code1 === undefined || code2 === undefined
      ? []
      : [{ name: 'functions of ours', start1: pageOf(code1), start2: pageOf(code2), size: PAGE }];
  return [...modules, ...named, ...replaced];
}

const pageOf = (address: bigint): bigint => address - (address % BigInt(PAGE));

/** Blocks that only pointers lead to which are not aligned. Whether there were any. */
function followUnaligned({ comparison, outside }: Found, a: ReadRun, b: ReadRun, pairs: BlockPairs): boolean {
  let isNew = false;
  const follow = (at1: bigint, at2: bigint): void => {
    const value1 = a.memory.word(at1) & ADDRESS_MASK;
    const value2 = b.memory.word(at2) & ADDRESS_MASK;
    if (pairs.followPointer(Number(at1), Number(value1), Number(value2))) isNew = true;
  };
  for (const { range, slots, outward } of comparison.ranges) {
    for (const offset of slots) {
      if (offset % WORD !== 0) follow(range.start1 + BigInt(offset), range.start2 + BigInt(offset));
    }
    for (const [i, offset] of outward.offsets.entries()) {
      if (outside[outward.modules[i] ?? -1]?.name !== '[heap]') continue;
      follow(range.start1 + BigInt(offset), range.start2 + BigInt(offset));
    }
  }
  return isNew;
}

function settle(
  { comparison, ranges, outside, places }: Found,
  found: Pick<ComparedRuns, 'a' | 'b' | 'pairs' | 'bound'>,
  clearRemains: boolean,
): ComparedRuns {
  const { a, b, pairs } = found;
  const inward: number[] = [];
  const outward: OutwardWord[] = [];
  const zeroed: number[] = [];
  const remains: { at: number; bytes: number }[] = [];
  const unexplained: UnexplainedPair[] = [];
  const lead = leadsTo(a, pairs);
  const judge = (at: bigint, at2: bigint): void => {
    const value = a.memory.word(at);
    const target = lead(value & ADDRESS_MASK);
    if (target === 'kept') inward.push(Number(at));
    else if (target === 'freed') {
      // One byte over a pointer may have made it one to anywhere near.
      if (clearRemains) remains.push({ at: Number(at), bytes: 1 });
      else zeroed.push(Number(at));
    } else {
      const why = 'leads to a block that is not the same in both runs';
      unexplained.push({ at: Number(at), value1: value, value2: b.memory.word(at2), why });
    }
  };
  for (const { range, slots, outward: words } of comparison.ranges) {
    for (const offset of slots) judge(range.start1 + BigInt(offset), range.start2 + BigInt(offset));
    for (const [i, offset] of words.offsets.entries()) {
      const place = outside[words.modules[i] ?? -1];
      const at = range.start1 + BigInt(offset);
      if (place?.name === '[heap]') {
        judge(at, range.start2 + BigInt(offset));
        continue;
      }
      const value = a.memory.word(at);
      outward.push({ at: Number(at), value, module: place?.module, name: place?.name ?? 'nothing known' });
    }
  }
  const mallocs = mallocsOwn(a);
  const isMallocs = ({ value }: OutwardWord): boolean =>
    mallocs.some(({ start, end }) => value >= start && value < end);
  const stale = outward.filter(isMallocs);
  for (const { at } of stale) zeroed.push(at);
  const open: UnexplainedWord[] = [];
  for (const word of comparison.unexplained) {
    const { range, offset, value1, value2 } = word;
    const bytes = clearRemains ? bytesBeforeRemains(value1, value2, places) : undefined;
    if (bytes !== undefined) {
      remains.push({ at: Number(range.start1) + offset, bytes });
      continue;
    }
    open.push(word);
  }
  const told = diagnose({
    arch: 'x86_64',
    words: open.slice(0, LISTED),
    ranges,
    // The heap's blocks are ranges themselves.
    outside: outside.filter(({ name }) => name !== '[heap]'),
    image: { a, b },
    runs: [a.run.facts, b.run.facts],
  });
  for (const [i, { range, offset, value1, value2, into }] of open.entries()) {
    const seems = told[i] === undefined ? '' : ` (${told[i].text})`;
    const why = into === undefined ? `differs between two runs${seems}` : `leads into ${into}${seems}`;
    unexplained.push({ at: Number(range.start1) + offset, value1, value2, why });
  }
  return {
    ...found,
    inward,
    outward: outward.filter(word => !isMallocs(word)),
    zeroed,
    dangling: zeroed.length,
    remains,
    unexplained,
    unexplainedCount:
      unexplained.length + Math.max(0, comparison.counts.unexplained - comparison.unexplained.length),
  };
}

/** What an address of the first run leads to, as far as it is the library's. */
function leadsTo({ run }: ReadRun, pairs: BlockPairs): (address: bigint) => 'kept' | 'freed' | 'other' {
  const { start, end } = run.library;
  return address => {
    if (address >= start && address <= end) return 'kept';
    if (pairs.numberAt(Number(address)) >= 0) return 'kept';
    return pairs.stateAt(Number(address)) === BLOCK_STATE.used ? 'other' : 'freed';
  };
}

/** Where malloc has its own variables: a freed block holds pointers there, and a block made of it may still. */
function mallocsOwn({ run }: ReadRun): { readonly start: bigint; readonly end: bigint }[] {
  return findArenas(run.view, boundedReader(run.view))
    .flatMap(({ main, threads }) => [main, ...threads])
    .map(({ address, size }) => ({ start: address, end: address + BigInt(size) }));
}

/** Stretches by their starts; those that touch or overlap as one. */
function joined(stretches: readonly Skipped[]): Skipped[] {
  const result: { start: number; end: number }[] = [];
  for (const { start, end } of [...stretches].sort((x, y) => x.start - y.start)) {
    const last = result.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else result.push({ start, end });
  }
  return result;
}

/** What of `[0, size)` is in none of the stretches. */
export function gapsOf(stretches: readonly Skipped[], size: number): Skipped[] {
  const gaps: Skipped[] = [];
  let at = 0;
  for (const { start, end } of stretches) {
    if (start > at) gaps.push({ start: at, end: start });
    at = Math.max(at, end);
  }
  if (at < size) gaps.push({ start: at, end: size });
  return gaps;
}
