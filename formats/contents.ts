/**
 * What a part of a file holds: bytes in memory, or bytes that are read when they are needed. Models of
 * files are made of these, so that gigabytes never pass through the heap at once.
 *
 * @module
 */
import { type ByteSource, checkRange, SourceSlice } from './source.ts';

/** Bytes in memory, or bytes that are read when they are needed. */
export type Contents = Uint8Array | ByteSource;

/** Bytes that stay at their place in the file. */
export interface KeptBytes {
  offset: number;
  contents: Contents;
}

export const contentsSize = (contents: Contents): number =>
  contents instanceof Uint8Array ? contents.length : contents.size;

/** A stretch of contents, read now. */
export const readContents = (contents: Contents, offset: number, length: number): Uint8Array =>
  contents instanceof Uint8Array ? contents.subarray(offset, offset + length) : contents.read(offset, length);

/** All bytes of contents, read now; for what is known to be small. */
export const wholeContents = (contents: Contents): Uint8Array =>
  readContents(contents, 0, contentsSize(contents));

/**
 * A stretch of contents, not read. A slice of a slice is one of the source itself, so that a writer goes
 * on to see which bytes stay in their place.
 *
 * @throws FormatError `OUT_OF_RANGE` where the stretch is not within the contents
 */
export function sliceContents(contents: Contents, offset: number, length: number): Contents {
  checkRange(contentsSize(contents), offset, length);
  if (contents instanceof Uint8Array) return contents.subarray(offset, offset + length);
  if (contents instanceof SourceSlice) {
    return new SourceSlice(contents.source, contents.offset + offset, length);
  }
  return new SourceSlice(contents, offset, length);
}
