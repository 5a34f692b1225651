/**
 * The words that chained fixups are made of, in the place of the pointers that they become: each says what goes
 * there, and how far away the next one of its page is. `mach-o/fixup-chains.h` of dyld-1378,
 * `struct dyld_chained_ptr_64_rebase` and `dyld_chained_ptr_64_bind`:
 *
 *     rebase   target:36  high8:8  reserved:7  next:12  bind:1 = 0
 *     bind     ordinal:24 addend:8 reserved:19 next:12  bind:1 = 1
 *
 * `next` counts units of 4 bytes, 0 ends the chain. A target is an address in DYLD_CHAINED_PTR_64, and the
 * distance from the mach header in DYLD_CHAINED_PTR_64_OFFSET.
 *
 * An image of a dumped process has millions of these: they go through halves of words, not through BigInt.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import type { SegmentStarts } from './chained-fixups.ts';
import { DYLD_CHAINED_PTR, DYLD_CHAINED_PTR_START } from './constants.ts';
import { POINTER_SIZE } from './opcode-stream.ts';
import { LE } from './structs.ts';

/** What goes into one slot; `offset` in bytes from the start of the page. */
export type ChainSlot = ChainRebaseSlot | ChainBindSlot;

export interface ChainRebaseSlot {
  readonly offset: number;
  readonly kind: 'rebase';
  /** As `chainTarget` has it. */
  readonly target: number;
  /** The top byte of the pointer. */
  readonly high8: number;
}

export interface ChainBindSlot {
  readonly offset: number;
  readonly kind: 'bind';
  /** Index of the import. */
  readonly ordinal: number;
  /** 0 to 255. */
  readonly addend: number;
}

/** The fixups of one segment, in columns and in order of their offsets. */
export interface SegmentChains {
  /** Bytes from the start of the segment, of the slots with pointers into the image. */
  readonly offsets: Float64Array;
  /** Where they point to, as `targetAddress` takes it. */
  readonly targets: Float64Array;
  /** Their top bytes. */
  readonly high8: Uint8Array;
  /** The slots with symbols of other images; offsets from the start of the segment. */
  readonly binds: ChainBindSlot[];
  /** Offsets of the slots, of either kind, with bits that have to be 0; of the first few of them. */
  readonly reserved: number[];
}

/** `next` in the upper half of the word: bits 19 to 30. */
const NEXT_SHIFT = 19;
const NEXT_MASK = 0xfff;
const NEXT_UNIT = 4;
const BIND = 0x8000_0000;
/** `reserved` in the upper half of the word, of a bind and of a rebase. */
const BIND_RESERVED = 0x7_ffff;
const REBASE_RESERVED = 0x7_f000;
/** Of how many words with reserved bits is told. */
const MOST_RESERVED = 20;
const TARGET_LIMIT = 2 ** 36;
const ORDINAL_LIMIT = 2 ** 24;

/** Bytes that are read at once; a multiple of every page size. */
const CHUNK = 2 ** 20;

/**
 * The target that a word has for a pointer to `address`; `base` is where the mach header is.
 *
 * @throws FormatError `MACHO_BAD_CHAIN` for what 36 bits do not hold
 */
export function chainTarget(pointerFormat: number, address: bigint, base: bigint): number {
  const target = isOffset(pointerFormat) ? address - base : address;
  if (target >= 0n && target < BigInt(TARGET_LIMIT)) return Number(target);
  throw new FormatError(
    'MACHO_BAD_CHAIN',
    `Mach-O: a chained pointer to ${hex(address)} needs the target ${target}, expected 0 to 2^36 - 1`,
    { value: address },
  );
}

/** The address that a target means, without the top byte. */
export const targetAddress = (pointerFormat: number, target: number, base: bigint): bigint =>
  isOffset(pointerFormat) ? base + BigInt(target) : BigInt(target);

const isOffset = (pointerFormat: number): boolean =>
  pointerFormat === DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET;

/**
 * All fixups of a segment. `contents` are the bytes of the segment, as they are in the file.
 *
 * @throws FormatError `MACHO_BAD_CHAIN` for a chain that leaves its page or the contents, or words that overlap
 */
export function readChains({ pageSize, pageStarts }: SegmentStarts, contents: Contents): SegmentChains {
  const size = contentsSize(contents);
  const rebases = new RebaseColumns();
  const binds: ChainBindSlot[] = [];
  const reserved: number[] = [];
  let chunk = viewOf(new Uint8Array());
  let chunkStart = -1;
  for (const [page, start] of pageStarts.entries()) {
    if (start === DYLD_CHAINED_PTR_START.DYLD_CHAINED_PTR_START_NONE) continue;
    const pageOffset = page * pageSize;
    if (start >= pageSize)
      throw badChain(pageOffset + start, `begins the chain of page ${page}`, `within ${hex(pageSize)} bytes`);
    if (pageOffset + start + POINTER_SIZE > size) {
      throw badChain(
        pageOffset + start,
        `begins the chain of page ${page}`,
        `within the ${hex(size)} bytes of the segment`,
      );
    }
    const wanted = pageOffset - (pageOffset % CHUNK);
    if (wanted !== chunkStart) {
      // The last word of a page may end in the next one.
      chunk = viewOf(readContents(contents, wanted, Math.min(CHUNK + POINTER_SIZE, size - wanted)));
      chunkStart = wanted;
    }
    for (let offset = pageOffset + start; ; ) {
      if (offset + POINTER_SIZE > size) throw badChain(offset, 'goes on', `within ${hex(size)} bytes`);
      const low = chunk.getUint32(offset - chunkStart, LE);
      const high = chunk.getUint32(offset - chunkStart + 4, LE);
      if (high >= BIND) binds.push({ offset, kind: 'bind', ordinal: low & 0xff_ffff, addend: low >>> 24 });
      else rebases.add(offset, (high & 0xf) * 2 ** 32 + low, (high >>> 4) & 0xff);
      const unused = high & (high >= BIND ? BIND_RESERVED : REBASE_RESERVED);
      if (unused !== 0 && reserved.length < MOST_RESERVED) reserved.push(offset);
      const next = ((high >>> NEXT_SHIFT) & NEXT_MASK) * NEXT_UNIT;
      if (next === 0) break;
      if (next < POINTER_SIZE)
        throw badChain(offset, `goes on ${next} bytes later`, `${POINTER_SIZE} or more`);
      offset += next;
      if (offset >= pageOffset + pageSize) throw badChain(offset, 'goes on', `within page ${page}`);
    }
  }
  return { ...rebases.finish(), binds, reserved };
}

/**
 * Writes the words of one page into `page`, chained; their offsets ascend.
 *
 * @returns its page_start
 * @throws FormatError `MACHO_BAD_CHAIN` as `writeChainedRebase`, `writeChainedBind` and `linkChain`
 */
export function chainPage(page: Uint8Array, slots: readonly ChainSlot[]): number {
  const view = viewOf(page);
  const offsets = slots.map(({ offset }) => offset);
  for (const slot of slots) {
    if (slot.kind === 'rebase') writeChainedRebase(view, slot.offset, slot.target, slot.high8);
    else writeChainedBind(view, slot.offset, slot.ordinal, slot.addend);
  }
  return linkChain(page, offsets, 0, offsets.length, 0);
}

/**
 * Writes the word of a pointer into the image, the last of a chain until `linkChain` has seen it.
 *
 * @throws FormatError `MACHO_BAD_CHAIN` for a target of more than 36 bits, or outside of the bytes
 */
export function writeChainedRebase(view: DataView, at: number, target: number, high8: number): void {
  checkPlace(view, at);
  if (!(target >= 0 && target < TARGET_LIMIT))
    throw badChain(at, `has the target ${target}`, 'less than 2^36');
  if (!(high8 >= 0 && high8 <= 0xff)) throw badChain(at, `has high8 ${high8}`, 'at most 255');
  view.setUint32(at, target % 2 ** 32, LE);
  view.setUint32(at + 4, Math.floor(target / 2 ** 32) | (high8 << 4), LE);
}

/**
 * Writes the word of a symbol of another image, likewise.
 *
 * @throws FormatError `MACHO_BAD_CHAIN` for an ordinal of more than 24 bits, an addend of more than 8
 */
export function writeChainedBind(view: DataView, at: number, ordinal: number, addend: number): void {
  checkPlace(view, at);
  if (!(ordinal >= 0 && ordinal < ORDINAL_LIMIT))
    throw badChain(at, `has the ordinal ${ordinal}`, 'less than 2^24');
  if (!(addend >= 0 && addend <= 0xff)) throw badChain(at, `has the addend ${addend}`, 'at most 255');
  view.setUint32(at, ordinal + addend * ORDINAL_LIMIT, LE);
  view.setUint32(at + 4, BIND, LE);
}

/**
 * Chains the words that are in `page` at `offsets[from]` to `offsets[to - 1]`, less `pageOffset` each.
 *
 * @returns its page_start, DYLD_CHAINED_PTR_START_NONE for no words
 * @throws FormatError `MACHO_BAD_CHAIN` for offsets that do not ascend by 8 and more, are no multiples of 4, or
 *   whose words do not fit into the page
 */
export function linkChain(
  page: Uint8Array,
  offsets: ArrayLike<number>,
  from: number,
  to: number,
  pageOffset: number,
): number {
  if (from >= to) return DYLD_CHAINED_PTR_START.DYLD_CHAINED_PTR_START_NONE;
  const view = viewOf(page);
  for (let i = from; i < to; i++) {
    const at = (offsets[i] ?? 0) - pageOffset;
    const distance = i + 1 < to ? (offsets[i + 1] ?? 0) - pageOffset - at : 0;
    if (at % NEXT_UNIT !== 0) throw badChain(at, 'is there', `a multiple of ${NEXT_UNIT}`);
    if (i + 1 < to && distance < POINTER_SIZE) {
      throw badChain(at, `goes on ${distance} bytes later`, `${POINTER_SIZE} or more`);
    }
    checkPlace(view, at);
    const next = distance / NEXT_UNIT;
    if (next > NEXT_MASK) throw badChain(at, `goes on ${distance} bytes later`, 'at most 16380');
    // Of the upper half all but `next` stays; >>> 0 because of the bind bit.
    const high = view.getUint32(at + 4, LE) & ~(NEXT_MASK << NEXT_SHIFT);
    view.setUint32(at + 4, (high | (next << NEXT_SHIFT)) >>> 0, LE);
  }
  return (offsets[from] ?? 0) - pageOffset;
}

function checkPlace(view: DataView, at: number): void {
  if (at >= 0 && at + POINTER_SIZE <= view.byteLength) return;
  throw badChain(at, 'is there', `within the ${hex(view.byteLength)} bytes of the page`);
}

const badChain = (offset: number, what: string, expected: string): FormatError =>
  new FormatError(
    'MACHO_BAD_CHAIN',
    `Mach-O: the chained fixup at ${hex(offset)} ${what}, expected ${expected}`,
    { offset, value: offset },
  );

/** The columns of rebases, while they grow. */
class RebaseColumns {
  #count = 0;
  #offsets = new Float64Array(64);
  #targets = new Float64Array(64);
  #high8 = new Uint8Array(64);

  add(offset: number, target: number, high8: number): void {
    if (this.#count === this.#offsets.length) this.#grow();
    this.#offsets[this.#count] = offset;
    this.#targets[this.#count] = target;
    this.#high8[this.#count++] = high8;
  }

  finish(): { offsets: Float64Array; targets: Float64Array; high8: Uint8Array } {
    return {
      offsets: this.#offsets.slice(0, this.#count),
      targets: this.#targets.slice(0, this.#count),
      high8: this.#high8.slice(0, this.#count),
    };
  }

  #grow(): void {
    const size = 2 * this.#count;
    const grown = {
      offsets: new Float64Array(size),
      targets: new Float64Array(size),
      high8: new Uint8Array(size),
    };
    grown.offsets.set(this.#offsets);
    grown.targets.set(this.#targets);
    grown.high8.set(this.#high8);
    this.#offsets = grown.offsets;
    this.#targets = grown.targets;
    this.#high8 = grown.high8;
  }
}
