/**
 * Streams one segment into the new file: memory, with what belongs to the loader from the old file, and
 * every pointer as the file has it before the loader slides it. Zero pages become holes.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { type Contents, contentsSize, readContents } from '../../../formats/contents.ts';
import { viewOf } from '../../../formats/struct.ts';
import { CHUNK, ChunkWriter } from '../../chunk-writer.ts';
import { nonZeroPages } from '../../elide.ts';
import { type MemoryReader, PAGE } from '../../image.ts';
import { firstEndingAfter, type Stretch } from '../../stretches.ts';

/** A segment to be written anew. Offsets are bytes from its first. */
export interface SegmentJob {
  /** Bytes in the new file. */
  readonly filesize: number;
  /** Where they go. */
  readonly fileoff: number;
  /** Where memory is read: the address in the process. Undefined: all comes from the file. */
  readonly memory:
    | { readonly reader: MemoryReader; readonly address: bigint; readonly size: number }
    | undefined;
  /** The segment in the old file. */
  readonly contents: Contents;
  /** What comes from there. */
  readonly kept: readonly Stretch[];
  readonly pointers: PointerWriter;
  /** Offsets of words of memory that become 0; ascending. */
  readonly nulled: Float64Array;
  /** What is written over all this, last. */
  readonly patches: readonly Patch[];
}

export interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Turns the pointers of memory into what the file has of them. */
export interface PointerWriter {
  /** The chunk at offset `at` of the segment is as in memory. */
  slide(at: number, chunk: Uint8Array): void;
  /** What comes from the old file and patches are in place. */
  finish?(at: number, chunk: Uint8Array): void;
}

/**
 * @returns bytes of pages in the file, holes not counted
 * @throws those of `job.pointers`; errors of the write
 */
export async function dumpSegment(
  job: SegmentJob,
  file: FileHandle,
  onProgress: (bytes: number) => void,
): Promise<number> {
  const writer = new ChunkWriter(file);
  let stored = 0;
  for (let at = 0; at < job.filesize; at += CHUNK) {
    const buffer = await writer.buffer();
    const size = Math.min(CHUNK, job.filesize - at);
    // What is only patched may end within a page, behind which the file has nothing before the next one.
    const chunk = buffer.subarray(0, Math.ceil(size / PAGE) * PAGE);
    readMemory(job, at, chunk);
    job.pointers.slide(at, chunk);
    clearWords(job.nulled, at, chunk);
    overlayFile(job, at, chunk);
    for (const { offset, bytes } of job.patches) overlay(chunk, at, offset, bytes);
    job.pointers.finish?.(at, chunk);
    const ranges = nonZeroPages(chunk);
    stored += ranges.reduce((sum, { count }) => sum + count * PAGE, 0);
    writer.write(chunk, ranges, job.fileoff + at);
    onProgress(size);
  }
  await writer.drain();
  return stored;
}

const WORD = 8;

function readMemory({ memory }: SegmentJob, at: number, chunk: Uint8Array): void {
  const length = Math.max(0, Math.min(chunk.length, (memory?.size ?? 0) - at));
  if (memory !== undefined && length > 0) {
    memory.reader.read(memory.address + BigInt(at), chunk.subarray(0, length));
  }
  chunk.fill(0, length);
}

function clearWords(offsets: Float64Array, at: number, chunk: Uint8Array): void {
  const zero = new Uint8Array(WORD);
  for (let i = firstAtLeast(offsets, at - WORD + 1); i < offsets.length; i++) {
    const offset = offsets[i] ?? 0;
    if (offset >= at + chunk.length) return;
    overlay(chunk, at, offset, zero);
  }
}

/** What of the old file stays; where it has no bytes it was zero-fill. */
function overlayFile({ kept, contents }: SegmentJob, at: number, chunk: Uint8Array): void {
  const end = at + chunk.length;
  const size = contentsSize(contents);
  for (let i = firstEndingAfter(kept, at); ; i++) {
    const stretch = kept[i];
    if (stretch === undefined || stretch.start >= end) return;
    const from = Math.max(stretch.start, at);
    const to = Math.min(stretch.end, end);
    const inFile = Math.max(from, Math.min(to, size));
    if (inFile > from) chunk.set(readContents(contents, from, inFile - from), from - at);
    chunk.fill(0, inFile - at, to - at);
  }
}

/** Writes what of `bytes`, which belong at `offset` of the segment, lies in the chunk at `at`. */
function overlay(chunk: Uint8Array, at: number, offset: number, bytes: Uint8Array): void {
  const from = Math.max(offset, at);
  const to = Math.min(offset + bytes.length, at + chunk.length);
  if (to > from) chunk.set(bytes.subarray(from - offset, to - offset), from - at);
}

/** Pointers that stand in the file as plain words: `slide` less than in memory. Offsets of the segment, ascending. */
export const plainPointers = (
  offsets: Float64Array,
  slide: bigint,
  memory: SegmentJob['memory'],
): PointerWriter => ({ slide: (at, chunk) => slidePlain(offsets, at, chunk, slide, memory) });

/** One that is not aligned may lie across the chunk's ends. */
function slidePlain(
  offsets: Float64Array,
  at: number,
  chunk: Uint8Array,
  slide: bigint,
  memory: SegmentJob['memory'],
): void {
  if (slide === 0n) return;
  const view = viewOf(chunk);
  const end = at + chunk.length;
  const across = new Uint8Array(WORD);
  for (let i = firstAtLeast(offsets, at - WORD + 1); i < offsets.length; i++) {
    const offset = offsets[i] ?? 0;
    if (offset >= end) return;
    if (offset >= at && offset + WORD <= end) {
      view.setBigUint64(offset - at, BigInt.asUintN(64, view.getBigUint64(offset - at, true) - slide), true);
      continue;
    }
    if (memory === undefined) continue;
    memory.reader.read(memory.address + BigInt(offset), across);
    const word = viewOf(across);
    word.setBigUint64(0, BigInt.asUintN(64, word.getBigUint64(0, true) - slide), true);
    overlay(chunk, at, offset, across);
  }
}

/** Index of the first of the ascending offsets that is at least this one. */
export function firstAtLeast(offsets: Float64Array, least: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) >= least) high = middle;
    else low = middle + 1;
  }
  return low;
}
