/**
 * Where the contents of a stretch of memory end: after its last byte that is not zero.
 *
 * @module
 */
import { CHUNK } from '../../chunk-writer.ts';
import type { MemoryImage } from '../../image.ts';
import { touchedStretches } from '../../pointers/stretches.ts';

/** Bytes from `address` on, at most `size`; 0 where everything is zero. Reads from the end. */
export function endOfContents(image: MemoryImage, address: bigint, size: number): number {
  const buffer = new Uint8Array(CHUNK);
  for (const { start, end } of touchedStretches([{ image, start: address }], size).reverse()) {
    const first = Math.max(0, start);
    for (let to = Math.min(end, size); to > first; to -= CHUNK) {
      const from = Math.max(first, to - CHUNK);
      const chunk = buffer.subarray(0, to - from);
      image.memory.read(address + BigInt(from), chunk);
      const last = chunk.findLastIndex(byte => byte !== 0);
      if (last >= 0) return from + last + 1;
    }
  }
  return 0;
}
