/**
 * The bytes of a Mach-O file that was laid out, as pieces to be written at their offsets, or in memory.
 *
 * @module
 */
import { MACHO } from '../parts.ts';
import { bytesOf, type Piece, piecesOf } from '../pieces.ts';
import { layoutMachO, type MachOLayout } from './layout.ts';
import type { MachOFile } from './model.ts';

export type { Piece } from '../pieces.ts';

/** The pieces of a file in order of offset, without overlaps, read as they are asked for. */
export const writeMachO = (layout: MachOLayout): Generator<Piece, void> => piecesOf(MACHO, layout);

/**
 * A whole file in memory.
 *
 * @throws FormatError `MACHO_EXTERNAL` where contents are the caller's to write, `MACHO_TOO_LARGE` beyond
 *   2 GiB
 */
export const machoBytes = (file: MachOFile): Uint8Array => bytesOf(MACHO, layoutMachO(file));
