/**
 * A file that was laid out, as a source: it can be read again without having been written, and without ever being
 * in memory as a whole.
 *
 * @module
 */
import { readContents } from './contents.ts';
import { FormatError, hex } from './errors.ts';
import type { Format } from './parts.ts';
import type { PlacedParts } from './pieces.ts';
import { type ByteSource, checkRange } from './source.ts';

/**
 * The bytes of a layout, zero where it has none.
 *
 * @param size bytes of the source, where the file goes on after its last part
 * @throws FormatError when it is read where contents are the caller's to write: `ELF_EXTERNAL`, `MACHO_EXTERNAL`
 */
export function partsSource(format: Format, { parts, size: end }: PlacedParts, size = end): ByteSource {
  return {
    size,
    read(offset, length) {
      checkRange(size, offset, length);
      const bytes = new Uint8Array(length);
      for (let i = firstAfter(parts, offset); i < parts.length; i++) {
        const part = parts[i];
        if (part === undefined || part.offset >= offset + length) break;
        const from = Math.max(part.offset, offset);
        const to = Math.min(part.offset + part.size, offset + length);
        if (part.contents === undefined) {
          const message = `${format.name}: ${part.what} at ${hex(part.offset)} has no contents, expected some to be read`;
          throw new FormatError(`${format.code}_EXTERNAL`, message, { offset: part.offset });
        }
        bytes.set(readContents(part.contents, from - part.offset, to - from), from - offset);
      }
      return bytes;
    },
  };
}

/** Index of the first part that ends after `offset`. */
function firstAfter(parts: PlacedParts['parts'], offset: number): number {
  let low = 0;
  let high = parts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const part = parts[middle];
    if (part !== undefined && part.offset + part.size <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
