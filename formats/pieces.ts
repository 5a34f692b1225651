/**
 * The bytes of a file that was laid out, as pieces to be written at their offsets: nothing of a file
 * that stays in its source is held for longer than one piece. What lies between pieces is zero, or
 * external and the caller's to write.
 *
 * @module
 */
import { contentsSize, readContents } from './contents.ts';
import { FormatError, hex } from './errors.ts';
import type { Format, LayoutPart } from './parts.ts';

/** Bytes and where they go. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What the layout of a format comes to: parts in order of offset, without overlaps, and the file's size. */
export interface PlacedParts {
  readonly parts: readonly LayoutPart[];
  readonly size: number;
}

/** Contents from a source are read in pieces of this size: large enough to make each read cheap. */
const PIECE = 1024 * 1024;

/** What fits into one Uint8Array on every engine. */
const IN_MEMORY = 2 ** 31 - 1;

/**
 * The pieces of a file in order of offset, without overlaps, read as they are asked for.
 *
 * @throws FormatError `ELF_LAYOUT`, `MACHO_LAYOUT` where contents have changed since the layout
 */
export function* piecesOf(format: Format, { parts, size: fileSize }: PlacedParts): Generator<Piece, void> {
  let position = 0;
  for (const { what, offset, size, contents } of parts) {
    check(offset >= position, format, what, offset, position);
    position = offset + size;
    if (!contents) continue;
    check(contentsSize(contents) === size, format, what, contentsSize(contents), size);
    const step = contents instanceof Uint8Array ? size : PIECE;
    for (let done = 0; done < size; done += step) {
      const length = Math.min(step, size - done);
      const bytes = readContents(contents, done, length);
      check(bytes.length === length, format, what, bytes.length, length);
      yield { offset: offset + done, bytes };
    }
  }
  check(position === fileSize, format, 'the end of the file', position, fileSize);
}

/**
 * The pieces in one array of `size` bytes, zero where there are none.
 *
 * @throws FormatError `ELF_TOO_LARGE`, `MACHO_TOO_LARGE` beyond 2 GiB
 */
export function joinPieces(format: Format, pieces: Iterable<Piece>, size: number): Uint8Array {
  if (size > IN_MEMORY) {
    const message = `${format.name}: a file of ${hex(size)} bytes, expected at most 2 GiB in memory`;
    throw new FormatError(`${format.code}_TOO_LARGE`, message, { value: size });
  }
  const bytes = new Uint8Array(size);
  for (const piece of pieces) bytes.set(piece.bytes, piece.offset);
  return bytes;
}

/**
 * A whole file in memory.
 *
 * @throws FormatError `ELF_EXTERNAL`, `MACHO_EXTERNAL` where contents are the caller's to write;
 *   `ELF_TOO_LARGE`, `MACHO_TOO_LARGE` beyond 2 GiB
 */
export function bytesOf(format: Format, placed: PlacedParts): Uint8Array {
  const external = placed.parts.find(({ contents }) => !contents);
  if (external) {
    const message = `${format.name}: ${external.what} has no contents, expected all of them in memory`;
    throw new FormatError(`${format.code}_EXTERNAL`, message, { offset: external.offset });
  }
  return joinPieces(format, piecesOf(format, placed), placed.size);
}

/** The plan and the bytes must agree; where they do not, this code is wrong or a source changed. */
function check(holds: boolean, format: Format, what: string, found: number, planned: number): void {
  if (holds) return;
  const message = `${format.name}: ${what} comes to ${hex(found)}, expected ${hex(planned)} as laid out`;
  throw new FormatError(`${format.code}_LAYOUT`, message, { value: found });
}
