/**
 * LZ4 blocks: a compressor in the manner of the reference one (a hash table of the last places of four bytes, greedy,
 * faster through what does not compress), and a decompressor that believes nothing. Source: the LZ4 block format
 * description (lz4_Block_format.md, 1.6.3).
 *
 * @module
 */
import { FormatError } from './errors.ts';

const HASH_BITS = 14;
/** A match is at least as long. */
const LEAST_MATCH = 4;
/** Matches reach back as far at the most. */
const WINDOW = 0xffff;
/** The last bytes of a block are literals … */
const LAST_LITERALS = 5;
/** … and the last match begins as far before its end, at least. */
const MATCH_ROOM = 12;
/** After 2^6 places without a match every second one is tried, and so on. */
const SKIP_BITS = 6;
/** A length in a token that goes on in bytes of its own. */
const EXTENDED = 15;

/** The most bytes that a block of `size` bytes can take. */
export const lz4Bound = (size: number): number => size + Math.ceil(size / 255) + 16;

/** Compresses blocks; one instance is for many, one after the other. */
export class Lz4Compressor {
  readonly #table = new Int32Array(1 << HASH_BITS);

  /**
   * Compresses `input` as one block.
   *
   * @param into at least `lz4Bound(input.length)` bytes
   * @returns bytes of the block
   */
  compress(input: Uint8Array, into: Uint8Array): number {
    const table = this.#table.fill(-1);
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    const matchEnd = input.length - LAST_LITERALS;
    const lastStart = input.length - MATCH_ROOM;
    let written = 0;
    let anchor = 0;
    for (let at = 0, misses = 1 << SKIP_BITS; at <= lastStart; ) {
      const word = view.getUint32(at, true);
      const hash = Math.imul(word, 2654435761) >>> (32 - HASH_BITS);
      const candidate = table[hash] ?? -1;
      table[hash] = at;
      if (candidate < 0 || at - candidate > WINDOW || view.getUint32(candidate, true) !== word) {
        at += misses++ >> SKIP_BITS;
        continue;
      }
      let start = at;
      let from = candidate;
      while (start > anchor && from > 0 && input[start - 1] === input[from - 1]) {
        start--;
        from--;
      }
      let end = at + LEAST_MATCH;
      const distance = start - from;
      while (end < matchEnd && input[end] === input[end - distance]) end++;
      written = putSequence(input, anchor, start, into, written, end - start - LEAST_MATCH, distance);
      at = end;
      anchor = end;
      misses = 1 << SKIP_BITS;
    }
    return putSequence(input, anchor, input.length, into, written, -1, 0);
  }
}

/** Literals, and a match of `match` + 4 bytes where that is not negative. Returns the new end. */
function putSequence(
  input: Uint8Array,
  from: number,
  to: number,
  into: Uint8Array,
  start: number,
  match: number,
  distance: number,
): number {
  const literals = to - from;
  let at = start;
  into[at++] = (Math.min(literals, EXTENDED) << 4) | Math.min(Math.max(match, 0), EXTENDED);
  at = putLength(into, at, literals);
  into.set(input.subarray(from, to), at);
  at += literals;
  if (match < 0) return at;
  into[at++] = distance & 0xff;
  into[at++] = distance >> 8;
  return putLength(into, at, match);
}

function putLength(into: Uint8Array, start: number, length: number): number {
  if (length < EXTENDED) return start;
  let at = start;
  let left = length - EXTENDED;
  for (; left >= 255; left -= 255) into[at++] = 255;
  into[at++] = left;
  return at;
}

/**
 * Decompresses a block that holds exactly `into.length` bytes.
 *
 * @throws FormatError `LZ4_CORRUPT` for anything else
 */
export function decompressLz4(block: Uint8Array, into: Uint8Array): void {
  let at = 0;
  let written = 0;
  const next = (): number => {
    const byte = block[at];
    if (byte === undefined) throw corrupt(at, 'the block ends', 'another byte');
    at++;
    return byte;
  };
  const lengthOf = (short: number): number => {
    let length = short;
    for (let byte = short === EXTENDED ? 255 : 0; byte === 255; length += byte) byte = next();
    return length;
  };
  for (;;) {
    const token = next();
    const literals = lengthOf(token >> 4);
    if (literals > block.length - at || literals > into.length - written) {
      throw corrupt(
        at,
        `${literals} literals`,
        `at most ${Math.min(block.length - at, into.length - written)}`,
      );
    }
    into.set(block.subarray(at, at + literals), written);
    at += literals;
    written += literals;
    if (at === block.length) break;
    const distance = next() | (next() << 8);
    const match = lengthOf(token & 15) + LEAST_MATCH;
    if (distance === 0 || distance > written)
      throw corrupt(at, `a match ${distance} bytes back`, `1 to ${written}`);
    if (match > into.length - written) {
      throw corrupt(at, `a match of ${match} bytes`, `at most ${into.length - written}`);
    }
    // In pieces that double: a match may be nearer than it is long.
    for (let left = match; left > 0; ) {
      const piece = Math.min(left, distance + match - left);
      into.copyWithin(
        written,
        written - (distance + match - left),
        written - (distance + match - left) + piece,
      );
      written += piece;
      left -= piece;
    }
  }
  if (written !== into.length) throw corrupt(at, `${written} bytes in all`, `${into.length}`);
}

const corrupt = (offset: number, found: string, expected: string): FormatError =>
  new FormatError('LZ4_CORRUPT', `LZ4 block: ${found} at 0x${offset.toString(16)}, expected ${expected}`, {
    offset,
  });
