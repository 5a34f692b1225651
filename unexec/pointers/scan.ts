/**
 * Pointers of one image, by their values: every aligned word whose value is an address of the image. That is
 * what a conservative garbage collector does, and like there a number may be taken for a pointer; here it
 * would then be changed by the slide. So every word taken for a pointer that has something against it is
 * listed as doubtful, with the reason, and a caller may refuse to go on:
 *
 * - `tagged`: something in the top byte. AArch64 ignores it and some programs use it; numbers have it often.
 * - `one past the end` of a range, and in no other range: such pointers are rare, ends of arrays mostly lie
 *   within.
 * - `text`: the word goes on with printable bytes where printable bytes precede it, and ends in zeros. Six
 *   letters at the end of a string make an address of 47 bits.
 * - `pair`: the image lies so low that its addresses are two small 32-bit numbers side by side (the upper half
 *   is below 16, as on macOS), and both neighbours of the word are such pairs too, with the same upper half,
 *   but no addresses of the image.
 * - `unaligned`: an address at an odd multiple of 4 bytes, over two words that are no pointers. The only
 *   ones that are not among the slots: compilers align pointers, and Apple's linkers refuse others.
 * - what the caller knows of the place that a word leads to or lies in (`doubtTo`, `doubtAt`): a free block, the middle of
 *   a function.
 *
 * Words that look well and are numbers all the same remain possible; only a comparison excludes them.
 *
 * @module
 */
import type { MemoryImage } from '../image.ts';
import { OffsetList } from './offset-list.ts';
import { OutwardList, type OutwardSlots } from './outward-list.ts';
import { moduleTable, RangeTable, type ScannedModule, type ScannedRange } from './ranges.ts';
import { CHUNK, ChunkBuffer, leadOf, MARGIN, touchedStretches } from './stretches.ts';

export interface Scan {
  readonly ranges: readonly ScannedRange[];
  readonly image: Pick<MemoryImage, 'regions' | 'memory'>;
  /** What lies outside of the image and is known. */
  readonly outside: readonly ScannedModule[];
  /** At most so many words are listed (default: 1000); counts are exact. */
  readonly listed?: number;
  /** Called every MiB with the bytes that have been looked at. */
  readonly onProgress?: (bytes: number) => void;
}

export interface PointerScan {
  /** In the order of the ranges that were given. */
  readonly ranges: readonly RangeScan[];
  /** Sums over all ranges. */
  readonly counts: ScanCounts;
  readonly doubtful: readonly DoubtfulWord[];
}

export interface RangeScan {
  readonly range: ScannedRange;
  /** Offsets of the words taken for pointers, from the range's first byte, ascending. */
  readonly slots: Float64Array;
  /** Words that are addresses of a module outside. */
  readonly outward: OutwardSlots;
  readonly counts: ScanCounts;
}

export interface ScanCounts {
  /** Aligned words in what was searched, those of untouched pages too. */
  readonly words: number;
  readonly pointers: number;
  readonly outward: number;
  readonly doubtful: number;
}

export interface DoubtfulWord {
  readonly range: ScannedRange;
  /** Bytes from the range's start. */
  readonly offset: number;
  readonly value: bigint;
  /** The range to which it leads. */
  readonly into: string;
  /** What is against it. */
  readonly why: string;
  /** It is among the slots. */
  readonly taken: boolean;
}

/**
 * The words of `ranges` whose values are addresses of `ranges`.
 *
 * @throws UnexecError `BAD_RANGES` where ranges overlap or are no addresses
 */
export function scanPointers(scan: Scan): PointerScan {
  const search = new ScanSearch(scan);
  const ranges = scan.ranges.map(range => search.scan(range));
  const sum = (field: keyof ScanCounts): number =>
    ranges.reduce((total, { counts }) => total + counts[field], 0);
  const counts = {
    words: sum('words'),
    pointers: sum('pointers'),
    outward: sum('outward'),
    doubtful: sum('doubtful'),
  };
  return { ranges, counts, doubtful: search.doubtful };
}

const HIGH = 2 ** 32;
/** Upper halves below this are those of small numbers. */
const SMALL = 16;

class ScanSearch {
  readonly doubtful: DoubtfulWord[] = [];
  readonly #buffer = new ChunkBuffer();
  readonly #scan: Scan;
  readonly #targets: RangeTable;
  readonly #modules: RangeTable;
  readonly #limit: number;
  #scanned = 0;

  constructor(scan: Scan) {
    this.#scan = scan;
    this.#targets = new RangeTable(scan.ranges);
    this.#modules = moduleTable(scan.outside);
    this.#limit = scan.listed ?? 1000;
  }

  scan(range: ScannedRange): RangeScan {
    const slots = new OffsetList();
    const outward = new OutwardList();
    let doubtful = 0;
    const found = {
      slot: (offset: number) => slots.push(offset),
      outward: (offset: number, module: number, target: number) => outward.push(offset, module, target),
      doubtful: (word: Omit<DoubtfulWord, 'range'>) => {
        doubtful++;
        if (this.doubtful.length < this.#limit) this.doubtful.push({ range, ...word });
      },
    };
    if (range.searched !== false && range.size > 0) {
      const places = [{ image: this.#scan.image, start: range.start }];
      for (const { start, end } of touchedStretches(places, range.size, range.skip)) {
        for (let at = start; at < end; at += CHUNK) this.#chunk(range, at, Math.min(CHUNK, end - at), found);
      }
    }
    const words = range.searched === false ? 0 : Math.ceil((leadOf(range.start) + range.size) / 8);
    return {
      range,
      slots: slots.finish(),
      outward: outward.finish(),
      counts: { words, pointers: slots.length, outward: outward.length, doubtful },
    };
  }

  #chunk(range: ScannedRange, position: number, size: number, found: Findings): void {
    const length = Math.ceil(size / 8) * 8;
    this.#buffer.fill(this.#scan.image, { ...range, skip: range.skip ?? [] }, position, length);
    const { halves } = this.#buffer;
    const lowest = Math.min(lowOf(this.#targets), lowOf(this.#modules));
    const highest = Math.max(this.#targets.high, this.#modules.high);
    const end = (MARGIN + length) / 4;
    for (let i = MARGIN / 4; i < end; i += 2) {
      const low = halves[i] ?? 0;
      const high = halves[i + 1] ?? 0;
      if (low === 0 && high === 0) continue;
      const address = (high & 0xffffff) * HIGH + (low >>> 0);
      // Most words are neither zero nor anywhere near.
      if (address >= lowest && address <= highest) {
        const offset = position + i * 4 - MARGIN;
        if (this.#word(range, offset, i, address, found)) continue;
      }
      const across = ((halves[i + 2] ?? 0) & 0xffffff) * HIGH + (high >>> 0);
      if (across >= lowest && across < highest) {
        this.#unaligned(range, position + i * 4 - MARGIN, i, across, found);
      }
    }
    this.#scanned += size;
    this.#scan.onProgress?.(this.#scanned);
  }

  /** Whether the word is taken for a pointer. */
  #word(range: ScannedRange, offset: number, i: number, address: number, found: Findings): boolean {
    if (offset < 0 || offset + 8 > range.size) return false;
    const tag = (this.#buffer.halves[i + 1] ?? 0) >>> 24;
    const inside = this.#targets.find(address);
    const module = inside >= 0 ? -1 : this.#modules.find(address);
    if (module >= 0) {
      if (tag !== 0) return false;
      found.outward(offset, module, address - Number(this.#scan.outside[module]?.start ?? 0n));
      return true;
    }
    const target = this.#scan.ranges[inside >= 0 ? inside : this.#targets.findEnd(address)];
    if (target === undefined) return false;
    found.slot(offset);
    const why = this.#doubt(range, offset, i, target, address, tag);
    if (why === undefined) return true;
    const value = this.#buffer.view.getBigUint64(i * 4, true);
    found.doubtful({ offset, value, into: target.name, why, taken: true });
    return true;
  }

  #doubt(
    range: ScannedRange,
    offset: number,
    i: number,
    target: ScannedRange,
    address: number,
    tag: number,
  ): string | undefined {
    if (tag !== 0) return 'tagged';
    const into = address - Number(target.start);
    if (into === target.size) return 'one past the end';
    if (this.#isText(i * 4)) return 'text';
    if (this.#isPair(i)) return 'pair';
    return target.doubtTo?.(into) ?? range.doubtAt?.(offset);
  }

  /** Six printable bytes and two zeros, where the four bytes before are printable too. */
  #isText(at: number): boolean {
    const { bytes } = this.#buffer;
    if (bytes[at + 6] !== 0 || bytes[at + 7] !== 0) return false;
    for (let i = at - 4; i < at + 6; i++) {
      const byte = bytes[i] ?? 0;
      if (byte < 0x20 || byte > 0x7e) return false;
    }
    return true;
  }

  #isPair(i: number): boolean {
    const { halves } = this.#buffer;
    const high = halves[i + 1] ?? 0;
    if (high >= SMALL) return false;
    return [i - 2, i + 2].every(neighbour => {
      const low = halves[neighbour] ?? 0;
      if (halves[neighbour + 1] !== high) return false;
      const address = high * HIGH + (low >>> 0);
      return this.#targets.find(address) < 0 && this.#modules.find(address) < 0;
    });
  }

  /** An address at an odd multiple of 4, unless the word that it reaches into is a pointer. */
  #unaligned(range: ScannedRange, word: number, i: number, address: number, found: Findings): void {
    const offset = word + 4;
    if (offset < 0 || offset + 8 > range.size) return;
    const inside = this.#targets.find(address);
    if (inside < 0) return;
    const { halves, view } = this.#buffer;
    const next = ((halves[i + 3] ?? 0) & 0xffffff) * HIGH + ((halves[i + 2] ?? 0) >>> 0);
    if (this.#targets.find(next) >= 0 || this.#modules.find(next) >= 0) return;
    const value = view.getBigUint64(i * 4 + 4, true);
    if (value >> 56n !== 0n) return;
    const into = this.#scan.ranges[inside]?.name ?? '';
    found.doubtful({ offset, value, into, why: 'unaligned', taken: false });
  }
}

interface Findings {
  slot(offset: number): void;
  outward(offset: number, module: number, target: number): void;
  doubtful(word: Omit<DoubtfulWord, 'range'>): void;
}

const lowOf = (table: RangeTable): number => (table.high === 0 ? Number.POSITIVE_INFINITY : table.low);
