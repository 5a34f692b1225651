/**
 * glibc's malloc arenas in the memory of a process: `struct malloc_state` and `struct _heap_info`,
 * found and verified without symbols (distributions strip `main_arena` from libc.so.6).
 *
 * Facts from glibc's malloc/malloc.c and malloc/arena.c, 64-bit, compared in 2.31, 2.36, 2.41 and 2.43:
 * `malloc_state` is the same from 2.27 to 2.42, and 2.43 dropped the fast bins; `_heap_info` has got
 * `pagesize` since 2.35, but its first four fields have not moved.
 *
 * @module
 */
import { array, struct, u32, u64, type Value } from '../../formats/struct.ts';
import { type Module, PAGE_BIG } from '../image.ts';
import type { ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { isAnonymous } from './regions.ts';

/** `fd` and `bk` of bins 1 to 127; a bin's header is placed as if the pair were part of a chunk. */
const BINS = 254;

/** With `nfastbins` 0 the struct of 2.43, which has neither fast bins nor the flag that tells of them. */
const malloc_state = (nfastbins: number) =>
  struct({
    mutex: u32,
    flags: u32,
    have_fastchunks: array(u64, nfastbins > 0 ? 1 : 0),
    fastbinsY: array(u64, nfastbins),
    top: u64,
    last_remainder: u64,
    bins: array(u64, BINS),
    binmap: array(u32, 4),
    next: u64,
    next_free: u64,
    attached_threads: u64,
    system_mem: u64,
    max_system_mem: u64,
  });

type Layout = ReturnType<typeof malloc_state>;
const LAYOUTS: readonly Layout[] = [malloc_state(10), malloc_state(0)];

const heap_info = struct({ ar_ptr: u64, prev: u64, size: u64, mprotect_size: u64 });

/** A `malloc_state` of either layout. */
export interface Arena {
  readonly address: bigint;
  /** sizeof(struct malloc_state), bytes. */
  readonly size: number;
  /** Address of bin 1's header; bin i's is 16 (i - 1) bytes further. */
  readonly bin1: bigint;
  readonly state: Value<Layout>;
}

/** One heap of a thread arena: HEAP_MAX_SIZE bytes of address space, of which the first `size` are in use. */
export interface Heap {
  readonly address: bigint;
  readonly size: bigint;
  /** The arena's heap before this one, 0n in the first. */
  readonly prev: bigint;
  /** HEAP_MAX_SIZE, to which the address is aligned. */
  readonly maxSize: bigint;
}

/** `flags`: the main arena has had to take memory otherwise than by sbrk. */
export const NONCONTIGUOUS_BIT = 2;

/** HEAP_MAX_SIZE: 64 MiB; with the tunable glibc.malloc.hugetlb=2 four huge pages (of 2 MiB). */
const HEAP_MAX_SIZES = [0x400_0000n, 0x80_0000n];

/** `struct malloc_state` follows the heap's header, whose size depends on the version. */
const HEAP_INFO_SIZES = [48n, 32n];

/** Heaps of one arena: 64 MiB each, in 47 bits of address space. */
const MAX_HEAPS = 1 << 21;

/** Writable data of a module that is searched: a libc has 20 KiB, a static program whatever it likes. */
const MAX_SEARCHED = 64 << 20;

/** Addresses tried as a malloc_state in one module: a few hundred, and the arenas, by default eight a processor. */
const MAX_ATTEMPTS = 16_384;

type ModuleRange = Pick<Module, 'path' | 'start' | 'end'>;

/** The arenas of one copy of glibc. */
export interface Arenas {
  readonly main: Arena;
  readonly threads: readonly Arena[];
}

/**
 * The arenas of every glibc in the process (dlmopen(3) loads several). Empty when there is no glibc,
 * when nobody has called its malloc yet, and when its ring of arenas is damaged.
 */
export function findArenas(view: ZoneView, reader: BoundedReader): Arenas[] {
  const libcs = view.modules.filter(module =>
    /\/libc(\.so\.6|-2\.\d+\.so)( \(deleted\))?$/.test(module.path),
  );
  // Without a libc.so it is part of the program, or the program is a frozen one, which maps all from its file.
  const modules = libcs.length > 0 ? libcs : view.modules;
  return modules.map(module => arenasOf(view, reader, module)).filter(found => found !== undefined);
}

/**
 * The signature: an empty bin's `fd` and `bk` are both the address of its header, 16 bytes before
 * `fd`. Then the rest of the structure must fit, and `next` must lead through thread arenas back to
 * it, which also tells the two layouts apart.
 */
function arenasOf(view: ZoneView, reader: BoundedReader, module: ModuleRange) {
  const seek = { attempts: MAX_ATTEMPTS };
  for (const fd of emptyBins(view, module)) {
    // The first empty bin: those before it, however many, hold chunks.
    for (let before = 0; before < BINS / 2; before++) {
      for (const layout of LAYOUTS) {
        const main = readArena(reader, fd - BigInt(16 * before + layout.offsets.bins), layout);
        const threads = main && threadArenas(reader, main, layout, seek);
        if (main !== undefined && threads !== undefined) return { main, threads };
        if (seek.attempts-- <= 0) return undefined;
      }
    }
  }
  return undefined;
}

/** Addresses in the module's initialised data that look like the `fd` of the first of some empty bins. */
function* emptyBins(view: ZoneView, module: ModuleRange): Generator<bigint> {
  let left = MAX_SEARCHED;
  for (const region of view.regions) {
    const isInside = region.start >= module.start && region.start < module.end;
    if (!isInside && region.name !== module.path) continue;
    // main_arena is initialised data, hence mapped from the file; .bss, often large, is anonymous.
    if (!region.read || !region.write || region.shared || isAnonymous(region)) continue;
    if (region.size > left) continue;
    left -= region.size;

    const bytes = new Uint8Array(region.size);
    view.memory.read(region.start, bytes);
    const data = new DataView(bytes.buffer);
    // Plain numbers, a word in two halves: this loop looks at every word, and bigints are 20 times slower.
    const start = Number(region.start);
    const isEmptyBin = (at: number): boolean =>
      pointsTo(data, at, start + at - 16) && pointsTo(data, at + 8, start + at - 16);
    for (let at = 0; at + 16 <= bytes.length; at += 8) {
      if (isEmptyBin(at) && !(at >= 16 && isEmptyBin(at - 16))) yield region.start + BigInt(at);
    }
  }
}

const pointsTo = (data: DataView, at: number, target: number): boolean =>
  data.getUint32(at, true) === target >>> 0 && data.getUint32(at + 4, true) === Math.floor(target / 2 ** 32);

/** The `malloc_state` at `address`, if what is there can be one. */
function readArena(reader: BoundedReader, address: bigint, layout: Layout): Arena | undefined {
  if (!reader.word(address + BigInt(layout.offsets.next))) return undefined;
  const bytes = reader.bytes(address, layout.size);
  if (bytes === undefined) return undefined;
  const state = layout.read(bytes, 0, true);
  if (state.mutex > 2 || state.flags > 7) return undefined;
  if (state.system_mem > state.max_system_mem) return undefined;
  if (state.bins.includes(0n)) return undefined;
  return { address, size: layout.size, bin1: address + BigInt(layout.offsets.bins - 16), state };
}

/** The ring of `next`, from the main arena back to it; undefined when it does not close. */
function threadArenas(reader: BoundedReader, main: Arena, layout: Layout, seek: { attempts: number }) {
  const arenas: Arena[] = [];
  for (let next = main.state.next; next !== main.address; ) {
    const arena = readArena(reader, next, layout);
    if (arena === undefined || firstHeap(reader, arena) === undefined) return undefined;
    if (seek.attempts-- <= 0) return undefined;
    arenas.push(arena);
    next = arena.state.next;
  }
  return arenas;
}

/**
 * The heaps of a thread arena: the newest holds `top`, and each knows the one before. Where that
 * chain is damaged, only the heap that the arena itself lies in.
 */
export function heapsOf(reader: BoundedReader, arena: Arena): { heaps: Heap[]; complete: boolean } {
  const first = firstHeap(reader, arena);
  if (first === undefined) return { heaps: [], complete: false };
  const heaps: Heap[] = [];
  for (let at = arena.state.top & -first.maxSize; heaps.length < MAX_HEAPS; ) {
    const heap = readHeap(reader, at, first.maxSize, arena);
    if (heap === undefined) break;
    heaps.push(heap);
    if (at === first.address) return { heaps, complete: true };
    at = heap.prev;
  }
  return { heaps: [first], complete: false };
}

const firstHeap = (reader: BoundedReader, arena: Arena): Heap | undefined => {
  for (const maxSize of HEAP_MAX_SIZES) {
    const address = arena.address & -maxSize;
    if (HEAP_INFO_SIZES.includes(arena.address - address)) {
      const heap = readHeap(reader, address, maxSize, arena);
      if (heap?.prev === 0n) return heap;
    }
  }
  return undefined;
};

function readHeap(reader: BoundedReader, address: bigint, maxSize: bigint, arena: Arena): Heap | undefined {
  const bytes = reader.bytes(address, heap_info.size);
  if (bytes === undefined || address % maxSize !== 0n) return undefined;
  const { ar_ptr, prev, size, mprotect_size } = heap_info.read(bytes, 0, true);
  const fits = size > 0n && size % PAGE_BIG === 0n && size <= mprotect_size && mprotect_size <= maxSize;
  return fits && ar_ptr === arena.address ? { address, prev, size, maxSize } : undefined;
}
