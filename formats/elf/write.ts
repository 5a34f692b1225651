/**
 * The bytes of a file that was laid out, as pieces to be written at their offsets: nothing of a file
 * that stays in its source is held for longer than one piece. What lies between pieces is zero, or
 * external and the caller's to write.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { type ElfLayout, layoutElf } from './layout.ts';
import { contentsSize, type ElfFile, readContents } from './model.ts';

/** Bytes and where they go. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Contents from a source are read in pieces of this size: large enough to make each read cheap. */
const PIECE = 1024 * 1024;

/** What fits into one Uint8Array on every engine. */
const IN_MEMORY = 2 ** 31 - 1;

/** The pieces of a file in order of offset, without overlaps, read as they are asked for. */
export function* writeElf(layout: ElfLayout): Generator<Piece, void> {
  let position = 0;
  for (const { what, offset, size, contents } of layout.parts) {
    check(offset >= position, what, offset, position);
    position = offset + size;
    if (!contents) continue;
    check(contentsSize(contents) === size, what, contentsSize(contents), size);
    const step = contents instanceof Uint8Array ? size : PIECE;
    for (let done = 0; done < size; done += step) {
      const length = Math.min(step, size - done);
      const bytes = readContents(contents, done, length);
      check(bytes.length === length, what, bytes.length, length);
      yield { offset: offset + done, bytes };
    }
  }
  check(position === layout.size, 'the end of the file', position, layout.size);
}

/** The pieces in one array of `size` bytes, zero where there are none. */
export function piecesToBytes(pieces: Iterable<Piece>, size: number): Uint8Array {
  if (size > IN_MEMORY) {
    const message = `ELF: a file of ${hex(size)} bytes, expected at most 2 GiB in memory`;
    throw new FormatError('ELF_TOO_LARGE', message, { value: size });
  }
  const bytes = new Uint8Array(size);
  for (const piece of pieces) bytes.set(piece.bytes, piece.offset);
  return bytes;
}

/**
 * A whole file in memory.
 *
 * @throws FormatError `ELF_EXTERNAL` where contents are the caller's to write, `ELF_TOO_LARGE` beyond 2 GiB
 */
export function elfBytes(file: ElfFile): Uint8Array {
  const layout = layoutElf(file);
  const external = layout.parts.find(({ contents }) => !contents);
  if (external) {
    throw new FormatError(
      'ELF_EXTERNAL',
      `ELF: ${external.what} has no contents, expected all of them in memory`,
      {
        offset: external.offset,
      },
    );
  }
  return piecesToBytes(writeElf(layout), layout.size);
}

/** The plan and the bytes must agree; where they do not, this code is wrong or a source changed. */
function check(holds: boolean, what: string, found: number, planned: number): void {
  if (holds) return;
  throw new FormatError(
    'ELF_LAYOUT',
    `ELF: ${what} comes to ${hex(found)}, expected ${hex(planned)} as laid out`,
    {
      value: found,
    },
  );
}
