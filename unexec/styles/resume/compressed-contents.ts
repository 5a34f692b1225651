/**
 * Contents of a compressed image: each stretch of pages that are not zero is an LZ4 block, or several, of a MiB at the
 * most, one behind the other in the file; what does not become smaller is stored as it is. The note of the blocks
 * tells readers of the file what the restore program knows by itself.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { Lz4Compressor, lz4Bound } from '../../../formats/lz4.ts';
import { CHUNK, writeAll } from '../../chunk-writer.ts';
import type { CompressedBlock } from '../../compressed-memory.ts';
import { nonZeroPages } from '../../elide.ts';
import { PAGE, type PageRange, type ProcessImage } from '../../image.ts';
import { appendRanges, mergeRanges, type Span, type StoredSpan, type StoreProgress } from './contents.ts';

/** Zero pages between others that cost less in a block than a block of their own. */
const GAP_PAGES = 4;

export interface CompressedContents {
  /** Which pages hold anything; offsets in the file say nothing here. */
  readonly spans: readonly StoredSpan[];
  /** By address, and as they follow each other in the file. */
  readonly blocks: readonly CompressedBlock[];
}

/** Streams the pages of spans into the file, from an offset on. */
export async function storeCompressed(
  image: ProcessImage,
  spans: readonly Span[],
  file: FileHandle,
  fileOffset: number,
  progress: StoreProgress,
): Promise<CompressedContents> {
  const compressor = new Lz4Compressor();
  const chunk = new Uint8Array(CHUNK);
  const packed = new Uint8Array(lz4Bound(CHUNK));
  const stored: StoredSpan[] = [];
  const blocks: CompressedBlock[] = [];
  let offset = fileOffset;
  let done = 0;
  for (const span of spans) {
    const runs: PageRange[] = [];
    for (let at = 0; at < span.size; at += CHUNK) {
      const bytes = chunk.subarray(0, Math.min(CHUNK, span.size - at));
      const address = span.address + BigInt(at);
      image.memory.read(address, bytes);
      const ranges = nonZeroPages(bytes);
      appendRanges(runs, ranges, at / PAGE);
      for (const { first, count } of mergeRanges(ranges, GAP_PAGES)) {
        const plain = bytes.subarray(first * PAGE, (first + count) * PAGE);
        const length = compressor.compress(plain, packed);
        const isSmaller = length < plain.length;
        const block = {
          address: address + BigInt(first * PAGE),
          size: plain.length,
          offset,
          length: isSmaller ? length : plain.length,
        };
        await writeAll(file, isSmaller ? packed.subarray(0, length) : plain, offset);
        blocks.push(block);
        offset += block.length;
      }
      done += bytes.length;
      progress(done);
    }
    stored.push({ ...span, runs });
  }
  return { spans: stored, blocks };
}
