/**
 * Contents of the image in the file: which stretches of memory get room there, and the streaming of
 * their pages. Zero pages are left out as holes; pages that were never touched are not even read.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { CHUNK, ChunkWriter } from '../../chunk-writer.ts';
import { nonZeroPages } from '../../elide.ts';
import { type Left, NOTHING_LEFT } from '../../file-pages.ts';
import { type FileStretch, PAGE, type PageRange, type ProcessImage, type Region } from '../../image.ts';

/**
 * Touched pages that are this near to each other share a stretch of the file, with a hole between
 * them: a hole costs no disk space, while another mapping costs about 1.5 us at each start and exit.
 */
const MERGE_PAGES = 512;

/** A stretch of memory with room in the file. */
export interface Span {
  readonly region: Region;
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** Offset in the file, page-aligned. */
  readonly fileOffset: number;
}

/** A span whose pages have been looked at. */
export interface StoredSpan extends Span {
  /** Pages that are not zero, relative to the span. */
  readonly runs: readonly PageRange[];
}

/** Contents of a file that has no name (memfd, deleted file, shared anonymous memory). */
export interface StoredObject {
  /** Its inode. */
  readonly key: string;
  readonly name: string;
  readonly size: number;
  readonly fileOffset: number;
  /** Non-zero stretches, in pages. */
  readonly runs: readonly PageRange[];
}

/** Regions whose contents the image holds; the others are made anew by the kernel. */
export const isStored = (region: Region): boolean =>
  region.kind !== 'vvar' && region.kind !== 'vdso' && region.kind !== 'vsyscall' && !region.flags.has('wf');

/**
 * Gives touched stretches of the regions room in the file, in the order of their addresses; of those that lie over
 * their files their own pages.
 */
export function planSpans(
  image: ProcessImage,
  regions: readonly Region[],
  fileOffset: number,
  left: Left = NOTHING_LEFT,
): Span[] {
  const spans: Span[] = [];
  let offset = fileOffset;
  for (const region of regions) {
    const ranges = left.get(region)?.own ?? mergeRanges(image.memory.touched(region), MERGE_PAGES);
    for (const range of ranges) {
      const size = range.count * PAGE;
      spans.push({ region, address: region.start + BigInt(range.first * PAGE), size, fileOffset: offset });
      offset += size;
    }
  }
  return spans;
}

/** Joins ranges with at most `gap` pages between them. */
export function mergeRanges(ranges: Iterable<PageRange>, gap: number): PageRange[] {
  const merged: PageRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && range.first - (last.first + last.count) <= gap) {
      merged[merged.length - 1] = { first: last.first, count: range.first + range.count - last.first };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** Called after each chunk with the bytes read so far. */
export type StoreProgress = (bytes: number) => void;

/**
 * Streams the pages of spans into the file. Reading is synchronous (process_vm_readv), writing goes on
 * in libuv's pool meanwhile: two buffers, one being filled while the other is written.
 */
export async function storeSpans(
  image: ProcessImage,
  spans: readonly Span[],
  file: FileHandle,
  progress: StoreProgress,
): Promise<StoredSpan[]> {
  const writer = new ChunkWriter(file);
  const stored: StoredSpan[] = [];
  let done = 0;
  for (const span of spans) {
    const runs: PageRange[] = [];
    for (let at = 0; at < span.size; at += CHUNK) {
      const chunk = (await writer.buffer()).subarray(0, Math.min(CHUNK, span.size - at));
      image.memory.read(span.address + BigInt(at), chunk);
      const ranges = nonZeroPages(chunk);
      writer.write(chunk, ranges, span.fileOffset + at);
      appendRanges(runs, ranges, at / PAGE);
      done += chunk.length;
      progress(done);
    }
    stored.push({ ...span, runs });
  }
  await writer.drain();
  return stored;
}

/** Contents that belong to no region: of a memfd, a deleted file, or shared memory. */
export interface ObjectContents {
  readonly key: string;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Where there may be something other than zero, in order. */
  readonly stretches: () => readonly FileStretch[];
  /** pread(2): bytes read, 0 at the end. */
  readonly read: (offset: number, into: Uint8Array) => number;
}

/** Streams such contents to an offset in the file. */
export async function storeObject(
  object: ObjectContents,
  fileOffset: number,
  file: FileHandle,
): Promise<StoredObject> {
  const writer = new ChunkWriter(file);
  const runs: PageRange[] = [];
  for (const { at, length } of chunksOf(object)) {
    const chunk = (await writer.buffer()).subarray(0, Math.ceil(length / PAGE) * PAGE);
    chunk.fill(0);
    for (let filled = 0; filled < length; ) {
      const read = object.read(at + filled, chunk.subarray(filled, length));
      if (read === 0) break;
      filled += read;
    }
    const ranges = nonZeroPages(chunk);
    writer.write(chunk, ranges, fileOffset + at);
    appendRanges(runs, ranges, at / PAGE);
  }
  await writer.drain();
  return { key: object.key, name: object.name, size: object.size, fileOffset, runs };
}

/** Whole pages, each in one chunk at the most. */
function* chunksOf({ size, stretches }: ObjectContents): Iterable<{ at: number; length: number }> {
  let done = 0;
  for (const stretch of stretches()) {
    const end = Math.min(size, Math.ceil((stretch.offset + stretch.size) / PAGE) * PAGE);
    let at = Math.max(done, Math.floor(stretch.offset / PAGE) * PAGE);
    for (; at < end; at += CHUNK) yield { at, length: Math.min(CHUNK, end - at) };
    done = Math.max(done, end);
  }
}

/** Adds ranges of a part that begins `offset` pages into the whole. */
export function appendRanges(runs: PageRange[], ranges: readonly PageRange[], offset: number): void {
  for (const range of ranges) {
    const first = range.first + offset;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === first) {
      runs[runs.length - 1] = { first: last.first, count: last.count + range.count };
    } else {
      runs.push({ first, count: range.count });
    }
  }
}
