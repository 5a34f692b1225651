/**
 * Blocks as columns of numbers, sorted by address: a heap has millions of them. Looked up by address some
 * ten million times when the graph is built, so an index of the first block of every page is kept.
 *
 * @module
 */
import { PAGE } from '../image.ts';
import type { ZoneKind } from '../zones.ts';

/** What a block is to its program. */
export const BLOCK_STATE = {
  used: 0,
  /** In a free list of its arena or zone, or what an arena has not handed out yet (`top`). */
  free: 1,
  /** Freed, and marked used all the same: in a thread's cache or a fast bin. */
  cached: 2,
  /** Of the allocator itself: a thread's cache. */
  allocator: 3,
  /** Memory of an allocator that could not be walked: taken as one block in use. */
  unknown: 4,
} as const;
export type BlockState = (typeof BLOCK_STATE)[keyof typeof BLOCK_STATE];

export interface BlockZone {
  readonly kind: ZoneKind;
  readonly base: bigint;
  /** Bytes. */
  readonly size: number;
}

export interface Block {
  /** Address of the first byte that the program has; below 2^48. */
  readonly start: number;
  /** Bytes from there that it may use (malloc_usable_size). */
  readonly size: number;
  readonly state: BlockState;
  readonly zone: BlockZone;
}

/** Something about a heap that a user should know: damage, memory of others. */
export interface BlockRemark {
  readonly zone: BlockZone;
  readonly address: number;
  readonly what: string;
}

/** Blocks by address; an index is that of all columns. */
export class Blocks {
  readonly count: number;
  readonly starts: Float64Array;
  readonly sizes: Float64Array;
  readonly states: Uint8Array;
  readonly zoneIndexes: Uint32Array;
  readonly zones: readonly BlockZone[];
  readonly remarks: readonly BlockRemark[];
  readonly #pages: PageIndex[];
  #lastPages: PageIndex | undefined;

  constructor(columns: BlockColumns, zones: readonly BlockZone[], remarks: readonly BlockRemark[]) {
    this.count = columns.length;
    const { starts, sizes, states, zoneIndexes } = columns.finish();
    this.starts = starts;
    this.sizes = sizes;
    this.states = states;
    this.zoneIndexes = zoneIndexes;
    this.zones = zones;
    this.remarks = remarks;
    this.#pages = pageIndexes(starts, sizes);
  }

  at(index: number): Block {
    const zone = this.zones[this.zoneIndexes[index] ?? -1];
    const start = this.starts[index];
    if (zone === undefined || start === undefined) throw new RangeError(`block ${index} of ${this.count}`);
    const state = STATES[this.states[index] ?? 0] ?? BLOCK_STATE.unknown;
    return { start, size: this.sizes[index] ?? 0, state, zone };
  }

  /** Index of the block that has this byte, or that ends there (a pointer one past the end); -1: none. */
  find(address: number): number {
    let pages = this.#lastPages;
    if (pages === undefined || address < pages.start || address > pages.end) {
      pages = this.#pagesOf(address);
      if (pages === undefined) return -1;
      this.#lastPages = pages;
    }
    const page = Math.min(pages.firsts.length - 2, Math.floor((address - pages.start) / pages.step));
    // The first block that starts in a later page, and the last one that starts before this page.
    let high = pages.firsts[page + 1] ?? 0;
    let low = Math.max(pages.first, (pages.firsts[page] ?? 0) - 1);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const index = low - 1;
    if (index < pages.first) return -1;
    return address <= (this.starts[index] ?? 0) + (this.sizes[index] ?? 0) ? index : -1;
  }

  /** Index of the block that starts at this address; -1: none. */
  startingAt(address: number): number {
    const index = this.find(address);
    return index >= 0 && this.starts[index] === address ? index : -1;
  }

  /** Whether the program has this block: others hold nothing, and lead nowhere. */
  isLive(index: number): boolean {
    const state = this.states[index];
    return state === BLOCK_STATE.used || state === BLOCK_STATE.unknown;
  }

  #pagesOf(address: number): PageIndex | undefined {
    let low = 0;
    let high = this.#pages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#pages[middle]?.start ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const found = this.#pages[low - 1];
    return found !== undefined && address <= found.end ? found : undefined;
  }
}

const STATES: readonly BlockState[] = Object.values(BLOCK_STATE);

/** Blocks that lie close to each other, by page. */
interface PageIndex {
  /** Address of the first page, and the end of the last block. */
  readonly start: number;
  readonly end: number;
  /** Bytes of what is called a page here: more than one where large blocks have many. */
  readonly step: number;
  /** Index of the first block. */
  readonly first: number;
  /** For each page: index of the first block that starts in it or later; one more at the end. */
  readonly firsts: Uint32Array;
}

/** A gap of more than this begins another index: 4 MiB, 4 KiB of index. */
const FAR_PAGES = 1024;
/** An index stays in proportion to the number of blocks, however large they claim to be. */
const MOST_PAGES = 4096;
const PAGES_PER_BLOCK = 8;

function pageIndexes(starts: Float64Array, sizes: Float64Array): PageIndex[] {
  const found: PageIndex[] = [];
  for (let first = 0; first < starts.length; ) {
    let last = first;
    while (
      last + 1 < starts.length &&
      (starts[last + 1] ?? 0) - (starts[last] ?? 0) - (sizes[last] ?? 0) < FAR_PAGES * PAGE
    ) {
      last++;
    }
    found.push(pageIndex(starts, sizes, first, last));
    first = last + 1;
  }
  return found;
}

function pageIndex(starts: Float64Array, sizes: Float64Array, first: number, last: number): PageIndex {
  const start = Math.floor((starts[first] ?? 0) / PAGE) * PAGE;
  const end = (starts[last] ?? 0) + (sizes[last] ?? 0);
  let step = PAGE;
  while ((end - start) / step > MOST_PAGES + PAGES_PER_BLOCK * (last - first)) step *= 2;
  const firsts = new Uint32Array(Math.floor((end - start) / step) + 2);
  let block = first;
  for (let page = 0; page < firsts.length; page++) {
    while (block <= last && (starts[block] ?? 0) < start + page * step) block++;
    firsts[page] = block;
  }
  firsts[firsts.length - 1] = last + 1;
  return { start, end, step, first, firsts };
}

/** Columns that grow. */
export class BlockColumns {
  #starts = new Float64Array(1024);
  #sizes = new Float64Array(1024);
  #states = new Uint8Array(1024);
  #zoneIndexes = new Uint32Array(1024);
  length = 0;

  push(start: number, size: number, state: BlockState, zoneIndex: number): void {
    if (this.length === this.#starts.length) this.#grow();
    this.#starts[this.length] = start;
    this.#sizes[this.length] = size;
    this.#states[this.length] = state;
    this.#zoneIndexes[this.length++] = zoneIndex;
  }

  #grow(): void {
    const larger = this.length * 2;
    const [starts, sizes, states, zoneIndexes] = [
      new Float64Array(larger),
      new Float64Array(larger),
      new Uint8Array(larger),
      new Uint32Array(larger),
    ];
    starts.set(this.#starts);
    sizes.set(this.#sizes);
    states.set(this.#states);
    zoneIndexes.set(this.#zoneIndexes);
    this.#starts = starts;
    this.#sizes = sizes;
    this.#states = states;
    this.#zoneIndexes = zoneIndexes;
  }

  /** What was pushed, which was in the order of addresses. */
  finish() {
    return {
      starts: this.#starts.slice(0, this.length),
      sizes: this.#sizes.slice(0, this.length),
      states: this.#states.slice(0, this.length),
      zoneIndexes: this.#zoneIndexes.slice(0, this.length),
    };
  }
}
