/**
 * Random access to the bytes of a file, so that a reader of headers need not hold the file in memory.
 * The Node side implements `ByteSource` with `readSync`, a browser page with what the user dropped on
 * it; `bytesSource` serves bytes that are in memory already.
 *
 * @module
 */
import { FormatError, hex } from './errors.ts';

export interface ByteSource {
  /** Bytes in the whole source. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset` on. They may be a view of shared memory: do not change them.
   *
   * @throws FormatError `OUT_OF_RANGE` where the source ends before
   */
  read(offset: number, length: number): Uint8Array;
}

/** Bytes in memory as a source. `read` gives views, not copies. */
export const bytesSource = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: (offset, length) => {
    checkRange(bytes.length, offset, length);
    return bytes.subarray(offset, offset + length);
  },
});

/** No table or section that is read at once is larger; the limits of engines come later, as RangeErrors. */
const MAX_READ = 2 ** 30;

/** A stretch of another source. Where it lies is public: a writer can tell that bytes stay in place. */
export class SourceSlice implements ByteSource {
  readonly source: ByteSource;
  /** Where it begins in `source`. */
  readonly offset: number;
  readonly size: number;

  /** @throws FormatError `OUT_OF_RANGE` where the stretch is not within the source */
  constructor(source: ByteSource, offset: number, size: number) {
    checkRange(source.size, offset, size);
    this.source = source;
    this.offset = offset;
    this.size = size;
  }

  /** @throws FormatError `OUT_OF_RANGE`; `TOO_LARGE` for more than a GiB at once */
  read(offset: number, length: number): Uint8Array {
    checkRange(this.size, offset, length);
    if (length > MAX_READ) {
      const message = `read of ${hex(length)} bytes at ${hex(this.offset + offset)}, expected at most ${hex(MAX_READ)} at once`;
      throw new FormatError('TOO_LARGE', message, { offset: this.offset + offset, value: length });
    }
    return this.source.read(this.offset + offset, length);
  }
}

/**
 * Whether `length` bytes at `offset` are within `size`; for implementations of `ByteSource`.
 *
 * @throws FormatError `OUT_OF_RANGE`
 */
export function checkRange(size: number, offset: number, length: number): void {
  // Comparing with the difference: offset + length could round beyond 2^53.
  if (offset >= 0 && length >= 0 && offset <= size && length <= size - offset) return;
  throw new FormatError(
    'OUT_OF_RANGE',
    `read of ${hex(length)} bytes at ${hex(offset)}, expected to stay within ${hex(size)} bytes`,
    { offset, value: length },
  );
}
