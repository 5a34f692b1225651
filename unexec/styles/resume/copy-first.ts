/**
 * All contents that `storeContents` will read, copied into our own memory, so that the process can go on before the
 * file is written. Pages that are zero take none.
 *
 * @module
 */
import { CHUNK } from '../../chunk-writer.ts';
import { nonZeroPages } from '../../elide.ts';
import type { Left } from '../../file-pages.ts';
import type { HeldContents, OpenFile, PageRange, ProcessImage, Region } from '../../image.ts';
import { PAGE } from '../../image.ts';
import { isMemoryFile } from '../../linux/regions.ts';
import { type MemoryStretch, StretchMemory } from '../../sources/stretch-memory.ts';
import { isStored } from './contents.ts';
import { isPrivate } from './mappings.ts';

export interface MemoryCopy {
  /** The same, with contents of its own. */
  readonly image: ProcessImage;
  /** Bytes of our memory that they take. */
  readonly bytes: number;
}

/**
 * @param left what is left in files, and not copied
 * @param limit bytes that a copy may take
 * @returns undefined where it could take more
 */
export function copyFirst(image: ProcessImage, left: Left, limit: number): MemoryCopy | undefined {
  const regions = image.regions.filter(region => isRead(region));
  const rangesOf = (region: Region): Iterable<PageRange> =>
    left.get(region)?.own ?? image.memory.touched(region);
  if (mostBytes(image, regions, rangesOf) > limit) return undefined;
  const copier = new Copier(image);
  const stretches = regions.flatMap(region => copier.copyRegion(region, rangesOf(region)));
  const files = image.files.map(file => copier.copyFile(file));
  return { image: { ...image, files, memory: new StretchMemory(stretches) }, bytes: copier.bytes };
}

const isRead = (region: Region): boolean => (isPrivate(region) ? isStored(region) : isMemoryFile(region));

function mostBytes(
  { files }: ProcessImage,
  regions: readonly Region[],
  rangesOf: (region: Region) => Iterable<PageRange>,
): number {
  let bytes = 0;
  for (const region of regions) {
    for (const { count } of rangesOf(region)) bytes += count * PAGE;
  }
  for (const { what } of files) {
    if (what.type !== 'memory') continue;
    for (const { size } of what.contents.stretches()) bytes += size;
  }
  return bytes;
}

class Copier {
  readonly #image: ProcessImage;
  #chunk = Buffer.allocUnsafeSlow(CHUNK);
  bytes = 0;

  constructor(image: ProcessImage) {
    this.#image = image;
  }

  copyRegion(region: Region, ranges: Iterable<PageRange>): MemoryStretch[] {
    const stretches: MemoryStretch[] = [];
    for (const { first, count } of ranges) {
      for (let page = 0; page < count; page += CHUNK / PAGE) {
        const chunk = this.#chunk.subarray(0, Math.min(CHUNK, (count - page) * PAGE));
        const address = region.start + BigInt((first + page) * PAGE);
        this.#image.memory.read(address, chunk);
        for (const run of this.#keep(chunk)) {
          stretches.push(stretchOf(region, address + BigInt(run.at), run.bytes));
        }
      }
    }
    return stretches;
  }

  /**
   * What of the chunk is not zero. A whole one that mostly is so is kept as it is, and another one takes its place: no
   * copy takes more than what `mostBytes` counts.
   */
  #keep(chunk: Buffer): { readonly at: number; readonly bytes: Uint8Array }[] {
    const ranges = nonZeroPages(chunk);
    const kept = ranges.reduce((sum, { count }) => sum + count * PAGE, 0);
    const inPlace = chunk.length === CHUNK && kept * 2 > CHUNK;
    this.bytes += inPlace ? CHUNK : kept;
    if (inPlace) this.#chunk = Buffer.allocUnsafeSlow(CHUNK);
    return ranges.map(({ first, count }) => {
      const bytes = chunk.subarray(first * PAGE, (first + count) * PAGE);
      return { at: first * PAGE, bytes: inPlace ? bytes : Uint8Array.prototype.slice.call(bytes) };
    });
  }

  copyFile(file: OpenFile): OpenFile {
    const { what } = file;
    if (what.type !== 'memory') return file;
    return { ...file, what: { ...what, contents: this.#copyContents(what.contents) } };
  }

  #copyContents(contents: HeldContents): HeldContents {
    const stretches = contents.stretches();
    const copies = stretches.map(({ offset, size }) => {
      const bytes = new Uint8Array(size);
      for (let filled = 0; filled < size; ) {
        const read = contents.read(offset + filled, bytes.subarray(filled));
        if (read === 0) break;
        filled += read;
      }
      this.bytes += size;
      return { offset, bytes };
    });
    return {
      stretches: () => stretches,
      read: (offset, into) => {
        into.fill(0);
        for (const copy of copies) copyOverlap(copy, offset, into);
        return into.length;
      },
      close: () => {},
    };
  }
}

function copyOverlap(
  { offset, bytes }: { readonly offset: number; readonly bytes: Uint8Array },
  from: number,
  into: Uint8Array,
): void {
  const start = Math.max(offset, from);
  const end = Math.min(offset + bytes.length, from + into.length);
  if (start < end) into.set(bytes.subarray(start - offset, end - offset), start - from);
}

const stretchOf = (region: Region, start: bigint, bytes: Uint8Array): MemoryStretch => ({
  ...region,
  start,
  size: bytes.length,
  stored: bytes.length,
  fill: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
});
