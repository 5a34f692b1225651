/**
 * The memory of a compressed image: its blocks, their note, and a reader of what they hold.
 *
 * @module
 */
import { type ElfFile, elfNotes } from '../formats/elf/index.ts';
import { FormatError } from '../formats/errors.ts';
import { decompressLz4 } from '../formats/lz4.ts';
import type { ByteSource } from '../formats/source.ts';
import { struct, u64, viewOf } from '../formats/struct.ts';
import { NOTE } from './manifest.ts';

/** A stretch of memory, and where in the file it is compressed. */
export interface CompressedBlock {
  readonly address: bigint;
  /** Bytes of memory. */
  readonly size: number;
  readonly offset: number;
  /** Bytes in the file: as many as `size` where it is stored as it is. */
  readonly length: number;
}

/** The section with all blocks. */
export const COMPRESSED_SECTION = '.unexec.lz4';

const record = struct({ address: u64, size: u64, offset: u64, length: u64 });
/** No writer of ours makes larger ones. */
const LARGEST = 1n << 20n;
const ADDRESS_END = 1n << 64n;

/** The description of a note of type `NOTE.BLOCKS`. */
export function encodeBlocks(blocks: readonly CompressedBlock[]): Uint8Array {
  const bytes = new Uint8Array(blocks.length * record.size);
  for (const [i, { address, size, offset, length }] of blocks.entries()) {
    const value = { address, size: BigInt(size), offset: BigInt(offset), length: BigInt(length) };
    record.write(viewOf(bytes), i * record.size, value, true);
  }
  return bytes;
}

/**
 * The blocks of a file that unexec wrote, by address; none of one that is not compressed. None shares bytes of the file
 * with another one: so what they hold is at most 255 times the file.
 *
 * @throws FormatError `BLOCKS_MALFORMED`
 */
export function compressedBlocks(file: ElfFile): CompressedBlock[] {
  const note = elfNotes(file).find(({ owner, type }) => owner === 'unexec' && type === NOTE.BLOCKS);
  if (note === undefined) return [];
  const { length: noteSize } = note.desc;
  if (noteSize % record.size !== 0) {
    const message = `blocks: their note has ${noteSize} bytes, expected a multiple of ${record.size}`;
    throw new FormatError('BLOCKS_MALFORMED', message, { value: noteSize });
  }
  const view = viewOf(note.desc);
  const fileSize = BigInt(file.source?.size ?? 0);
  const blocks: CompressedBlock[] = [];
  let memoryEnd = 0n;
  let fileEnd = 0n;
  for (let at = 0; at < noteSize; at += record.size) {
    const { address, size, offset, length } = record.read(view, at, true);
    const inMemory = address >= memoryEnd && address + size <= ADDRESS_END && size > 0n && size <= LARGEST;
    const inFile = offset >= fileEnd && offset + length <= fileSize && length > 0n && length <= size;
    if (!inMemory || !inFile) {
      const found = `0x${address.toString(16)} with ${size} bytes, ${length} of the file at ${offset}`;
      const message = `blocks: number ${at / record.size} is ${found}, expected it behind the one before, of at most ${LARGEST} bytes and within the file`;
      throw new FormatError('BLOCKS_MALFORMED', message, { value: address });
    }
    memoryEnd = address + size;
    fileEnd = offset + length;
    blocks.push({ address, size: Number(size), offset: Number(offset), length: Number(length) });
  }
  return blocks;
}

/** What a block holds. @throws FormatError `LZ4_CORRUPT`, with the address of the memory */
export function readBlock(
  source: ByteSource,
  { address, size, offset, length }: CompressedBlock,
): Uint8Array {
  const packed = source.read(offset, length);
  if (length === size) return packed;
  const bytes = new Uint8Array(size);
  try {
    decompressLz4(packed, bytes);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const message = `memory at 0x${address.toString(16)}: ${error.message} (the block is at 0x${offset.toString(16)} of the file)`;
    throw new FormatError(error.code, message, { offset, value: address });
  }
  return bytes;
}

/** A stretch of memory, in the blocks that follow each other in it. */
export interface CompressedStretch {
  readonly address: bigint;
  readonly size: number;
  readonly blocks: readonly CompressedBlock[];
}

/** Blocks that follow each other in memory belong together. */
export function compressedStretches(blocks: readonly CompressedBlock[]): CompressedStretch[] {
  const stretches: { address: bigint; size: number; blocks: CompressedBlock[] }[] = [];
  for (const block of blocks) {
    const last = stretches.at(-1);
    if (last !== undefined && last.address + BigInt(last.size) === block.address) {
      last.blocks.push(block);
      last.size += block.size;
    } else {
      stretches.push({ address: block.address, size: block.size, blocks: [block] });
    }
  }
  return stretches;
}

/** A stretch as a source of its own: decompressed where it is read, a block kept for what is read next. */
export class StretchSource implements ByteSource {
  readonly size: number;
  readonly #source: ByteSource;
  readonly #blocks: readonly (CompressedBlock & { readonly at: number })[];
  #kept: { readonly at: number; readonly bytes: Uint8Array } | undefined;

  constructor(source: ByteSource, { size, blocks, address }: CompressedStretch) {
    this.size = size;
    this.#source = source;
    this.#blocks = blocks.map(block => ({ ...block, at: Number(block.address - address) }));
  }

  read(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || length > this.size - offset) {
      const message = `memory: ${length} bytes at ${offset}, expected to end within ${this.size}`;
      throw new FormatError('TRUNCATED', message, { offset });
    }
    const into = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const block = this.#blockAt(offset + done);
      if (block === undefined) break;
      const part = block.bytes.subarray(offset + done - block.at, offset + length - block.at);
      into.set(part, done);
      done += part.length;
    }
    return into;
  }

  #blockAt(offset: number) {
    const kept = this.#kept;
    if (kept !== undefined && offset >= kept.at && offset < kept.at + kept.bytes.length) return kept;
    const block = this.#blocks[this.#indexOf(offset)];
    this.#kept = block && { at: block.at, bytes: readBlock(this.#source, block) };
    return this.#kept;
  }

  /** Of the last block that begins at `offset` or before. */
  #indexOf(offset: number): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#blocks[middle]?.at ?? offset) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Where in the file the block is that holds the byte at `offset`. */
  fileOffsetOf(offset: number): number {
    return this.#blocks[this.#indexOf(offset)]?.offset ?? 0;
  }
}
