/**
 * Steps that read contents of the image into memory. Facts: pread(2).
 *
 * @module
 */
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

/** Memory that has its contents in the image's file. */
export interface Piece {
  readonly address: bigint;
  readonly size: number;
  readonly fileOffset: number;
}

/** One call reads at most a page less than 2 GiB (MAX_RW_COUNT), and says so by its result alone. */
const READ_LIMIT = 1 << 30;

/** Reads a piece of any size. */
export function readContents(
  program: RestoreProgram,
  name: string,
  { address, size, fileOffset }: Piece,
  self: Slot,
): void {
  for (let at = 0; at < size; at += READ_LIMIT) {
    const length = Math.min(READ_LIMIT, size - at);
    program.syscall(name, NR.pread64, [self, address + BigInt(at), length, fileOffset + at]);
  }
}
