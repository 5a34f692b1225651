/**
 * Two areas compared page by page: which pages are equal, which zero, which differ. Only what may hold something is
 * read, and a few MiB at a time.
 *
 * @module
 */
import { endOf, type MemoryReader, PAGE } from '../image.ts';
import { CHUNK, touchedStretches } from '../pointers/stretches.ts';
import type { Stretch } from '../stretches.ts';
import type { PageCounts } from './model.ts';
import type { AreaPair } from './pair-areas.ts';
import type { Area, Side } from './side.ts';

/** What both areas have: the stretch from their first byte or, of a stack that grows down, to their last. */
export interface Common {
  readonly startA: bigint;
  readonly startB: bigint;
  /** Bytes. */
  readonly size: number;
}

export interface PageComparison {
  readonly common: Common | undefined;
  readonly pages: PageCounts;
  /** Bytes of the common stretch, from its first, on pages that differ: ascending, disjoint. */
  readonly changed: readonly Stretch[];
  /** Addresses of contents that only one has. */
  readonly onlyA: readonly AddressStretch[];
  readonly onlyB: readonly AddressStretch[];
}

export interface AddressStretch {
  readonly start: bigint;
  readonly size: number;
}

const ZERO_PAGE = Buffer.alloc(PAGE);
const bufferA = Buffer.alloc(CHUNK);
const bufferB = Buffer.alloc(CHUNK);

export function comparePages(
  { a, b }: AreaPair,
  sideA: Pick<Side, 'memory'>,
  sideB: Pick<Side, 'memory'>,
  onBytes: (bytes: number) => void,
): PageComparison {
  if (a?.isCompared === false || b?.isCompared === false) return nothing();
  const common = a !== undefined && b !== undefined ? commonOf(a, b) : undefined;
  const found = new Pages();
  if (common !== undefined && a !== undefined && b !== undefined) {
    compareCommon(common, { ...a, memory: sideA.memory }, { ...b, memory: sideB.memory }, found, onBytes);
  }
  if (a !== undefined) rest(a, common?.startA, common?.size ?? 0, sideA.memory, found.onlyA, found, onBytes);
  if (b !== undefined) rest(b, common?.startB, common?.size ?? 0, sideB.memory, found.onlyB, found, onBytes);
  return { common, ...found.finish() };
}

const nothing = (): PageComparison => ({ common: undefined, ...new Pages().finish() });

function commonOf(a: Area, b: Area): Common | undefined {
  const size = Math.min(a.size, b.size);
  if (size === 0) return undefined;
  const growsDown = a.kind === 'stack';
  return {
    startA: growsDown ? endOf(a) - BigInt(size) : a.start,
    startB: growsDown ? endOf(b) - BigInt(size) : b.start,
    size,
  };
}

/** What has been found so far, in pages and stretches of them. */
class Pages {
  same = 0;
  changedPages = 0;
  zero = 0;
  left = 0;
  readonly changed: { start: number; end: number }[] = [];
  readonly onlyA: { start: bigint; size: number }[] = [];
  readonly onlyB: { start: bigint; size: number }[] = [];

  addChanged(start: number, end: number): void {
    this.changedPages++;
    const last = this.changed.at(-1);
    if (last?.end === start) last.end = end;
    else this.changed.push({ start, end });
  }

  finish(): Omit<PageComparison, 'common'> {
    const { same, zero, left, changed, onlyA, onlyB } = this;
    const pages = {
      same,
      changed: this.changedPages,
      zero,
      onlyA: pagesOf(onlyA),
      onlyB: pagesOf(onlyB),
      left,
    };
    return { pages, changed, onlyA, onlyB };
  }
}

const pagesOf = (stretches: readonly AddressStretch[]): number =>
  stretches.reduce((sum, { size }) => sum + Math.ceil(size / PAGE), 0);

function addStretch(list: { start: bigint; size: number }[], start: bigint, size: number): void {
  const last = list.at(-1);
  if (last !== undefined && endOf(last) === start) last.size += size;
  else list.push({ start, size });
}

type Place = Area & { readonly memory: MemoryReader };

function compareCommon(
  common: Common,
  a: Place,
  b: Place,
  found: Pages,
  onBytes: (bytes: number) => void,
): void {
  const places = [
    { image: { regions: [a], memory: a.memory }, start: common.startA },
    { image: { regions: [b], memory: b.memory }, start: common.startB },
  ];
  const storedA = storedPages(a, common.startA, common.size);
  const storedB = storedPages(b, common.startB, common.size);
  let looked = 0;
  for (const { start, end } of onPages(touchedStretches(places, common.size), common.size)) {
    for (let at = start; at < end; at += CHUNK) {
      const length = Math.min(CHUNK, end - at);
      fill(bufferA, a.memory, common.startA + BigInt(at), length);
      fill(bufferB, b.memory, common.startB + BigInt(at), length);
      for (let page = 0; page < length; page += PAGE) {
        looked++;
        const from = at + page;
        if (storedA?.[from / PAGE] === 0 || storedB?.[from / PAGE] === 0) {
          found.left++;
          continue;
        }
        const size = Math.min(PAGE, common.size - from);
        const zeroA = isZero(bufferA, page);
        const zeroB = isZero(bufferB, page);
        if (zeroA && zeroB) found.zero++;
        else if (zeroB) addStretch(found.onlyA, common.startA + BigInt(from), size);
        else if (zeroA) addStretch(found.onlyB, common.startB + BigInt(from), size);
        else if (bufferA.compare(bufferB, page, page + PAGE, page, page + PAGE) === 0) found.same++;
        else found.addChanged(from, from + size);
      }
      onBytes(length);
    }
  }
  const others = Math.ceil(common.size / PAGE) - looked;
  if (a.leavesPages || b.leavesPages) found.left += others;
  else found.zero += others;
}

/** Of an area that leaves pages in another file, which ones it has: 1 a page. */
function storedPages(place: Place, start: bigint, size: number): Uint8Array | undefined {
  if (!place.leavesPages) return undefined;
  const stored = new Uint8Array(Math.ceil(size / PAGE));
  const places = [{ image: { regions: [place], memory: place.memory }, start }];
  for (const stretch of onPages(touchedStretches(places, size), size)) {
    stored.fill(1, stretch.start / PAGE, Math.ceil(stretch.end / PAGE));
  }
  return stored;
}

/** What one has beside the common stretch. */
function rest(
  area: Area,
  commonStart: bigint | undefined,
  commonSize: number,
  memory: MemoryReader,
  only: { start: bigint; size: number }[],
  found: Pages,
  onBytes: (bytes: number) => void,
): void {
  const stretches =
    commonStart === undefined
      ? [{ start: area.start, end: endOf(area) }]
      : [
          { start: area.start, end: commonStart },
          { start: commonStart + BigInt(commonSize), end: endOf(area) },
        ];
  for (const { start, end } of stretches) {
    const size = Number(end - start);
    if (size <= 0) continue;
    let stored = 0;
    let looked = 0;
    const touched = touchedStretches([{ image: { regions: [area], memory }, start }], size);
    for (const stretch of onPages(touched, size)) {
      for (let at = stretch.start; at < stretch.end; at += CHUNK) {
        const length = Math.min(CHUNK, stretch.end - at);
        fill(bufferA, memory, start + BigInt(at), length);
        for (let page = 0; page < length; page += PAGE) {
          looked++;
          if (isZero(bufferA, page)) continue;
          stored++;
          addStretch(only, start + BigInt(at + page), Math.min(PAGE, size - at - page));
        }
        onBytes(length);
      }
    }
    const others = Math.ceil(size / PAGE) - looked;
    found.zero += looked - stored + (area.leavesPages ? 0 : others);
    found.left += area.leavesPages ? others : 0;
  }
}

/** Whole pages, from the first byte of the stretch that is compared; joined. */
function* onPages(touched: readonly Stretch[], size: number): Iterable<Stretch> {
  let start = 0;
  let end = 0;
  for (const stretch of touched) {
    const first = Math.floor(Math.max(0, stretch.start) / PAGE) * PAGE;
    if (first > end) {
      if (end > start) yield { start, end };
      start = first;
    }
    end = Math.max(end, Math.min(size, Math.ceil(stretch.end / PAGE) * PAGE));
  }
  if (end > start) yield { start, end };
}

/** Reads, with zeros up to the end of the last page. */
function fill(buffer: Buffer, memory: MemoryReader, address: bigint, length: number): void {
  memory.read(address, buffer.subarray(0, length));
  buffer.fill(0, length, Math.ceil(length / PAGE) * PAGE);
}

const isZero = (buffer: Buffer, at: number): boolean =>
  buffer.compare(ZERO_PAGE, 0, PAGE, at, at + PAGE) === 0;
