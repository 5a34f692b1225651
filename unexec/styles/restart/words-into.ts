/**
 * Which of some words lead into a program, by their values.
 *
 * @module
 */
import type { MemoryReader } from '../../image.ts';
import type { ProgramRange } from './found-pointers.ts';

/** Bytes that are read at once. */
const CHUNK = 1 << 20;
const WORD = 8;

/**
 * @param start address in the process from which the offsets count; they ascend
 * @returns the offsets of the words whose value is an address in one of the ranges
 */
export function wordsInto(
  memory: MemoryReader,
  start: bigint,
  offsets: Float64Array,
  ranges: readonly ProgramRange[],
  slide: bigint,
): Float64Array {
  const extents = ranges.map(({ address, size }) => ({
    first: Number(address + slide),
    end: Number(address + slide) + size,
  }));
  const found = new Float64Array(offsets.length);
  let count = 0;
  const chunk = new Uint8Array(CHUNK + WORD);
  const view = new DataView(chunk.buffer);
  let chunkStart = -1;
  for (const offset of offsets) {
    if (chunkStart < 0 || offset - chunkStart >= CHUNK) {
      chunkStart = offset;
      memory.read(start + BigInt(offset), chunk);
    }
    const at = offset - chunkStart;
    const high = view.getUint32(at + 4, true);
    if (high > 0xffff) continue;
    const value = high * 2 ** 32 + view.getUint32(at, true);
    if (extents.some(({ first, end }) => value >= first && value < end)) found[count++] = offset;
  }
  return found.slice(0, count);
}
