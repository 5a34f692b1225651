/**
 * Words of a stretch of a process's memory, read in pieces of 256 KiB of which some are kept. As pairs of 32
 * bits: sizes and addresses are below 2^48, and numbers are 20 times faster than bigints.
 *
 * @module
 */
import type { MemoryReader } from '../image.ts';

const PIECE = 1 << 18;
/** A search for where chunks go on looks ahead from each place, and comes back. */
const KEPT = 8;
const HIGH = 2 ** 32;

interface Piece {
  /** Address, a multiple of PIECE; -1: nothing has been read. */
  start: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export class Window {
  readonly #memory: MemoryReader;
  readonly #start: number;
  readonly #end: number;
  readonly #pieces: Piece[] = [];
  #piece: Piece = newPiece();

  /** @param end words are read from `start` to here, multiples of 8; what lies outside reads as zero */
  constructor(memory: MemoryReader, start: number, end: number) {
    this.#memory = memory;
    this.#start = start;
    this.#end = end;
  }

  /** The 64-bit word at a multiple of 8. Beyond 2^53 it is not exact, but still large. */
  word(address: number): number {
    const at = this.#at(address);
    return this.#piece.view.getUint32(at + 4, true) * HIGH + this.#piece.view.getUint32(at, true);
  }

  /** The 32 bits at a multiple of 4. */
  low(address: number): number {
    const at = this.#at(address);
    return this.#piece.view.getUint32(at, true);
  }

  /** The 64-bit word at a multiple of 8, exactly. */
  wide(address: number): bigint {
    const at = this.#at(address);
    return this.#piece.view.getBigUint64(at, true);
  }

  /** The address in the 8 bytes anywhere, without what a program keeps in their upper 16 bits. */
  pointer(address: number): number {
    const skew = address % 8;
    const at = address - skew;
    if (skew === 0) return this.low(at) + (this.low(at + 4) % 0x10000) * HIGH;
    const both = this.wide(at) | (this.wide(at + 8) << 64n);
    return Number((both >> BigInt(8 * skew)) & 0xffff_ffff_ffffn);
  }

  /** Makes the piece with this address the current one; returns the offset in it. */
  #at(address: number): number {
    const start = this.#piece.start;
    if (address >= start && address < start + PIECE && start >= 0) return address - start;
    const wanted = Math.floor(address / PIECE) * PIECE;
    const slot = (wanted / PIECE) % KEPT;
    let piece = this.#pieces[slot];
    if (piece === undefined) {
      piece = newPiece();
      this.#pieces[slot] = piece;
    }
    if (piece.start !== wanted) this.#fill(piece, wanted);
    this.#piece = piece;
    return address - wanted;
  }

  #fill(piece: Piece, start: number): void {
    const first = Math.min(PIECE, Math.max(0, this.#start - start));
    const last = Math.max(first, Math.min(PIECE, this.#end - start));
    piece.bytes.fill(0, 0, first);
    piece.bytes.fill(0, last);
    if (last > first) this.#memory.read(BigInt(start + first), piece.bytes.subarray(first, last));
    piece.start = start;
  }
}

function newPiece(): Piece {
  const bytes = new Uint8Array(PIECE);
  return { start: -1, bytes, view: new DataView(bytes.buffer) };
}
