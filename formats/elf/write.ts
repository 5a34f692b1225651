/**
 * The bytes of an ELF file that was laid out, as pieces to be written at their offsets, or in memory.
 *
 * @module
 */
import { ELF } from '../parts.ts';
import { partsSource } from '../parts-source.ts';
import { bytesOf, joinPieces, type Piece, piecesOf } from '../pieces.ts';
import type { ByteSource } from '../source.ts';
import { type ElfLayout, layoutElf } from './layout.ts';
import type { ElfFile } from './model.ts';

export type { Piece } from '../pieces.ts';

/** The pieces of a file in order of offset, without overlaps, read as they are asked for. */
export const writeElf = (layout: ElfLayout): Generator<Piece, void> => piecesOf(ELF, layout);

/** The pieces in one array of `size` bytes, zero where there are none. */
export const piecesToBytes = (pieces: Iterable<Piece>, size: number): Uint8Array =>
  joinPieces(ELF, pieces, size);

/**
 * A whole file in memory.
 *
 * @throws FormatError `ELF_EXTERNAL` where contents are the caller's to write, `ELF_TOO_LARGE` beyond 2 GiB
 */
export const elfBytes = (file: ElfFile): Uint8Array => bytesOf(ELF, layoutElf(file));

/**
 * A file that was laid out as a source, to be read again without being written.
 *
 * @param size bytes, where the file goes on with zeros after its last part
 */
export const elfSource = (layout: ElfLayout, size?: number): ByteSource => partsSource(ELF, layout, size);
