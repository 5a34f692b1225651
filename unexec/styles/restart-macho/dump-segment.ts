/**
 * Streams one segment into the new file: memory, with what belongs to the loader from the old file, and
 * every pointer as the file has it before the loader slides it. Zero pages become holes.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { type Contents, contentsSize, readContents } from '../../../formats/contents.ts';
import { linkChain, writeChainedBind, writeChainedRebase } from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { CHUNK, ChunkWriter } from '../../chunk-writer.ts';
import { nonZeroPages } from '../../elide.ts';
import { type MemoryReader, PAGE } from '../../image.ts';
import { firstEndingAfter, type Stretch } from '../../stretches.ts';
import { mergeOffsets, type SegmentFixups } from './fixup-plan.ts';

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
  readonly fixups: SegmentFixups;
  /** Offsets of words of memory that become 0; ascending. */
  readonly nulled: Float64Array;
  /** What is written over all this, last. */
  readonly patches: readonly Patch[];
}

export interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** How pointers stand in the file. */
export interface PointerEncoding {
  /** What is subtracted from a pointer in memory. */
  readonly slide: bigint;
  /** Undefined: plain words, and rebase opcodes say where they are. */
  readonly chained: ChainEncoding | undefined;
}

export interface ChainEncoding {
  /** 0x1000 or 0x4000. */
  readonly pageSize: number;
  /** What `target` counts from: the mach header's address, or 0. Of the file. */
  readonly targetBase: bigint;
}

export interface WrittenSegment {
  /** Bytes of pages in the file, holes not counted. */
  readonly stored: number;
  /** Of each page, where its chain begins; of no pages where nothing is chained. */
  readonly pageStarts: Uint16Array;
}

/** @throws FormatError `MACHO_BAD_CHAIN` for a pointer that a chain cannot hold; errors of the write */
export async function dumpSegment(
  job: SegmentJob,
  encoding: PointerEncoding,
  file: FileHandle,
  onProgress: (bytes: number) => void,
): Promise<WrittenSegment> {
  const writer = new ChunkWriter(file);
  const chain = encoding.chained && new ChainWriter(job, encoding.chained);
  let stored = 0;
  for (let at = 0; at < job.filesize; at += CHUNK) {
    const buffer = await writer.buffer();
    const size = Math.min(CHUNK, job.filesize - at);
    // What is only patched may end within a page, behind which the file has nothing before the next one.
    const chunk = buffer.subarray(0, Math.ceil(size / PAGE) * PAGE);
    readMemory(job, at, chunk);
    if (chain === undefined) slidePlain(job.fixups.dumped, at, chunk, encoding.slide, job);
    else chain.slide(at, chunk, encoding.slide);
    clearWords(job.nulled, at, chunk);
    overlayFile(job, at, chunk);
    for (const { offset, bytes } of job.patches) overlay(chunk, at, offset, bytes);
    chain?.link(at, chunk);
    const ranges = nonZeroPages(chunk);
    stored += ranges.reduce((sum, { count }) => sum + count * PAGE, 0);
    writer.write(chunk, ranges, job.fileoff + at);
    onProgress(size);
  }
  await writer.drain();
  return { stored, pageStarts: chain?.pageStarts ?? new Uint16Array() };
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

/** Makes pointers what they were before the slide. One that is not aligned may lie across the chunk's ends. */
function slidePlain(
  offsets: Float64Array,
  at: number,
  chunk: Uint8Array,
  slide: bigint,
  { memory }: SegmentJob,
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
function firstAtLeast(offsets: Float64Array, least: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) >= least) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Writes the words of chained fixups, page by page, and remembers where each chain begins. */
class ChainWriter {
  readonly pageStarts: Uint16Array;
  readonly #job: SegmentJob;
  readonly #chain: ChainEncoding;
  /** Everything that is chained. */
  readonly #all: Float64Array;

  constructor(job: SegmentJob, chain: ChainEncoding) {
    this.#job = job;
    this.#chain = chain;
    this.#all = allOffsets(job.fixups);
    this.pageStarts = new Uint16Array(chainedPages(this.#all, chain.pageSize));
  }

  /** Pointers of memory as rebases, and those that become binds. The slide leaves the top byte alone. */
  slide(at: number, chunk: Uint8Array, slide: bigint): void {
    const view = viewOf(chunk);
    const end = at + chunk.length;
    const { dumped, added } = this.#job.fixups;
    const base = Number(slide + this.#chain.targetBase);
    for (let i = firstAtLeast(dumped, at); i < dumped.length; i++) {
      const offset = dumped[i] ?? 0;
      if (offset >= end) break;
      const high = view.getUint32(offset - at + 4, true);
      const address = (high & 0xff_ffff) * 2 ** 32 + view.getUint32(offset - at, true);
      writeChainedRebase(view, offset - at, address - base, high >>> 24);
    }
    for (const { offset, like } of added) {
      if (offset < at || offset >= end) continue;
      writeChainedBind(view, offset - at, like.importOrdinal ?? 0, 0);
    }
  }

  /** Links the chains of the chunk's pages; the words of the old file are in place by now. */
  link(at: number, chunk: Uint8Array): void {
    const { pageSize } = this.#chain;
    let from = firstAtLeast(this.#all, at);
    for (let offset = 0; offset < chunk.length && from < this.#all.length; offset += pageSize) {
      const to = firstAtLeast(this.#all, at + offset + pageSize);
      const page = chunk.subarray(offset, offset + pageSize);
      const index = (at + offset) / pageSize;
      if (index < this.pageStarts.length) {
        this.pageStarts[index] = linkChain(page, this.#all, from, to, at + offset);
      }
      from = to;
    }
  }
}

/** Everything of a segment that is chained, ascending. */
export const allOffsets = ({ dumped, kept, bound, added }: SegmentFixups): Float64Array =>
  mergeOffsets(
    dumped,
    kept,
    bound,
    added.map(({ offset }) => offset),
  );

/** Pages up to the last one with a fixup. */
export function chainedPages(offsets: Float64Array, pageSize: number): number {
  const last = offsets.at(-1);
  return last === undefined ? 0 : Math.floor(last / pageSize) + 1;
}
