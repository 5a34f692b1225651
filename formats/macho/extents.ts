/**
 * What a file holds beside the things that its headers speak of: it is kept, so that a file that was read
 * comes out as it was.
 *
 * @module
 */
import type { KeptBytes } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { type ByteSource, SourceSlice } from '../source.ts';

/** A stretch of a file. */
export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** Zeros shorter than this are padding: a gap between parts reads as zero anyway. */
const PADDING = 0x1_0000;

/** The stretches of a file that are in none of these, but for padding between them. */
export function uncovered(source: ByteSource, covered: readonly Extent[]): KeptBytes[] {
  const kept: KeptBytes[] = [];
  let position = 0;
  const keepUntil = (end: number): void => {
    const contents = new SourceSlice(source, position, end - position);
    const isPadding = contents.size < PADDING && contents.read(0, contents.size).every(byte => byte === 0);
    // At the end even zeros count: they are the size of the file.
    if (!isPadding || end === source.size) kept.push({ offset: position, contents });
  };
  for (const { offset, size } of [...covered].sort((a, b) => a.offset - b.offset)) {
    if (size === 0) continue;
    if (offset > position) keepUntil(offset);
    position = Math.max(position, offset + size);
  }
  if (source.size > position) keepUntil(source.size);
  return kept;
}

/**
 * A stretch of a file, not read; of no bytes it may be anywhere.
 *
 * @throws FormatError `MACHO_TRUNCATED` where the file ends before
 */
export function sliceOf(source: ByteSource, what: string, { offset, size }: Extent): SourceSlice {
  if (size === 0) return new SourceSlice(source, 0, 0);
  if (offset <= source.size && size <= source.size - offset) return new SourceSlice(source, offset, size);
  throw new FormatError(
    'MACHO_TRUNCATED',
    `Mach-O: ${what} is ${hex(size)} bytes at ${hex(offset)}, expected to end within the file's ${hex(source.size)} bytes`,
    { offset, value: size },
  );
}
