/**
 * What a segment holds once it has been loaded at a slide and before the program has written to it: its bytes in
 * the file, with every pointer moved. A page that nobody has written to is like that even where it is full of
 * pointers, because macOS fixes pages up when they are first read ("page-in linking"), and does not
 * count that as a write. Words that are bound to other images are not known here, and read as zero.
 *
 * @module
 */
import { contentsSize, readContents } from '../../formats/contents.ts';
import { readFixups } from '../../formats/macho/fixups.ts';
import type { MachOFile, SegmentCommand } from '../../formats/macho/index.ts';
import { viewOf } from '../../formats/struct.ts';

/** Gives bytes of a segment, from `offset` on, which end within its file size. */
export type FillSegment = (segment: SegmentCommand, offset: number, into: Uint8Array) => void;

const WORD = 8;

export function loadedSegments(file: MachOFile, slide: bigint): FillSegment {
  const words = new Map<SegmentCommand, FixedWords>();
  return (segment, offset, into) => {
    const { contents, filesize } = segment;
    into.fill(0);
    if (contents !== undefined) {
      const length = Math.min(into.length, contentsSize(contents) - offset, filesize - offset);
      if (length > 0) into.set(readContents(contents, offset, length));
    }
    let fixed = words.get(segment);
    if (fixed === undefined) {
      fixed = fixedWords(file, segment, slide);
      words.set(segment, fixed);
    }
    overlay(fixed, offset, into);
  };
}

/** Words of a segment that the loader writes, ascending, and what it writes. */
interface FixedWords {
  readonly offsets: Float64Array;
  readonly values: BigUint64Array;
}

function fixedWords(file: MachOFile, { vmaddr, vmsize }: SegmentCommand, slide: bigint): FixedWords {
  const { rebases, binds } = readFixups(file);
  const found: { readonly offset: number; readonly value: bigint }[] = [];
  const add = (address: bigint, value: bigint): void => {
    if (address < vmaddr || address + BigInt(WORD) > vmaddr + vmsize) return;
    found.push({ offset: Number(address - vmaddr), value });
  };
  // A lazy pointer is rebased first, to its stub helper, and bound when it is called.
  for (const { address, lazy } of binds) if (!lazy) add(address, 0n);
  for (const { address, target, high8 } of rebases) {
    add(address, BigInt.asUintN(64, (target + slide) | (BigInt(high8) << 56n)));
  }
  found.sort((a, b) => a.offset - b.offset);
  return {
    offsets: Float64Array.from(found, ({ offset }) => offset),
    values: BigUint64Array.from(found, ({ value }) => value),
  };
}

/** Writes the words that lie in [at, at + into.length), be it in part. */
function overlay({ offsets, values }: FixedWords, at: number, into: Uint8Array): void {
  const word = new Uint8Array(WORD);
  for (let i = firstAtLeast(offsets, at - WORD + 1); i < offsets.length; i++) {
    const offset = (offsets[i] ?? 0) - at;
    if (offset >= into.length) return;
    viewOf(word).setBigUint64(0, values[i] ?? 0n, true);
    const skipped = Math.max(0, -offset);
    into.set(word.subarray(skipped, Math.min(WORD, into.length - offset)), offset + skipped);
  }
}

function firstAtLeast(offsets: Float64Array, least: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}
