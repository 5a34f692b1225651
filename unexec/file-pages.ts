/**
 * Which pages of a process are still those of the file that is mapped there: what a thin image leaves in the files.
 * The pagemap tells the pages that were never written to, where it is the file of that name that is mapped; those
 * that were, and everything where that is not certain, are compared.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type BackingFile, identifyFile } from './backing-file.ts';
import { type MemoryReader, PAGE, type PageRange, type Region } from './image.ts';
import { majorOf, minorOf } from './linux/device-number.ts';

/** Read and compared at once. */
const CHUNK = 1 << 20;
/** Pages of the file between two written ones are stored rather than mapped, up to so many: a mapping costs more. */
const JOINED_PAGES = 4;

/** A region that lies over its file. */
export interface FilePages {
  readonly file: BackingFile;
  /** The pages that are not the file's: they have to be stored. */
  readonly own: readonly PageRange[];
}

/** Regions that lie over their files. */
export type Left = ReadonlyMap<Region, FilePages>;
export const NOTHING_LEFT: Left = new Map();

/** Bytes of a region that are left in its file. */
export function bytesLeft(left: Left, region: Region): number {
  const own = left.get(region)?.own;
  return own === undefined ? 0 : region.size - own.reduce((sum, { count }) => sum + count * PAGE, 0);
}

/** The regions of which pages can be left in their files. */
export function findFilePages(regions: readonly Region[], memory: MemoryReader): Left {
  const found = new Map<Region, FilePages>();
  for (const [path, mapped] of regionsByFile(regions)) {
    const own = ownPages(path, mapped, memory);
    const left = mapped.filter(region => countOf(own.get(region)) < region.size / PAGE);
    if (left.length === 0) continue;
    const file = identifyFile(path, left);
    for (const region of left) found.set(region, { file, own: own.get(region) ?? [] });
  }
  return found;
}

const countOf = (ranges: readonly PageRange[] | undefined): number =>
  ranges === undefined ? Number.POSITIVE_INFINITY : ranges.reduce((sum, { count }) => sum + count, 0);

function regionsByFile(regions: readonly Region[]): Map<string, Region[]> {
  const files = new Map<string, Region[]>();
  for (const region of regions) {
    if (region.inode === 0 || !region.name.startsWith('/') || region.name.endsWith(' (deleted)')) continue;
    const of = files.get(region.name);
    if (of === undefined) files.set(region.name, [region]);
    else of.push(region);
  }
  return files;
}

/** For each region of a file the pages that differ from it; nothing where there is no such file (any more). */
function ownPages(path: string, regions: readonly Region[], memory: MemoryReader): Map<Region, PageRange[]> {
  const own = new Map<Region, PageRange[]>();
  const fd = openRegular(path);
  if (fd === undefined) return own;
  try {
    const stat = fstatSync(fd, { bigint: true });
    const device = `${hex2(majorOf(stat.dev))}:${hex2(minorOf(stat.dev))}`;
    for (const region of regions) {
      const isSame = region.device === device && BigInt(region.inode) === stat.ino;
      const changed = isSame ? memory.changed?.(region) : undefined;
      const pages = changed ?? [{ first: 0, count: region.size / PAGE }];
      own.set(region, [...joined(different(fd, region, pages, memory))]);
    }
    return own;
  } finally {
    closeSync(fd);
  }
}

/** A device may do something when it is opened. */
function openRegular(path: string): number | undefined {
  try {
    return statSync(path).isFile() ? openSync(path, 'r') : undefined;
  } catch {
    return undefined;
  }
}

const hex2 = (value: bigint): string => value.toString(16).padStart(2, '0');

/** Of these pages the ones that differ from the file. Beyond its end a file reads as zeros, as its mapping does. */
function* different(
  fd: number,
  region: Region,
  ranges: Iterable<PageRange>,
  memory: MemoryReader,
): Generator<number> {
  const ours = Buffer.alloc(CHUNK);
  const files = Buffer.alloc(CHUNK);
  for (const { first, count } of ranges) {
    for (let at = first * PAGE; at < (first + count) * PAGE; at += CHUNK) {
      const length = Math.min(CHUNK, (first + count) * PAGE - at);
      memory.read(region.start + BigInt(at), ours.subarray(0, length));
      readFile(fd, files.subarray(0, length), region.offset + at);
      for (let page = 0; page < length; page += PAGE) {
        if (ours.compare(files, page, page + PAGE, page, page + PAGE) !== 0) yield (at + page) / PAGE;
      }
    }
  }
}

function readFile(fd: number, into: Buffer, position: number): void {
  for (let done = 0; done < into.length; ) {
    const read = readSync(fd, into, done, into.length - done, position + done);
    if (read === 0) {
      into.fill(0, done);
      return;
    }
    done += read;
  }
}

/** Ascending pages as ranges, with those between them that are few. */
function* joined(pages: Iterable<number>): Generator<PageRange> {
  let first = -1;
  let end = -1;
  for (const page of pages) {
    if (first >= 0 && page - end > JOINED_PAGES) {
      yield { first, count: end - first };
      first = -1;
    }
    if (first < 0) first = page;
    end = page + 1;
  }
  if (first >= 0) yield { first, count: end - first };
}
