/**
 * Which pages a run of an image touched, and how: what a training run learns, and the restore program
 * then does in bulk instead of a page fault each.
 *
 * @module
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { PAGE, type PageRange, type Region } from './image.ts';

/** Pages of one region, relative to its start. */
export interface TouchedPages {
  readonly region: Region;
  /** Copied on write, or fresh memory that was used. */
  readonly written: readonly PageRange[];
  /** Still those of the file, and mapped. */
  readonly read: readonly PageRange[];
}

const PRESENT = 0x80;
/** Bit 61 of a pagemap entry: a page of a file, or shared. */
const FILE_PAGE = 0x20;
const ENTRIES = 65536;

/** Reads the pagemap of a process that runs the image of these regions. */
export function readTouchedPages(pid: number, regions: readonly Region[]): TouchedPages[] {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const buffer = Buffer.alloc(ENTRIES * 8);
  try {
    return regions.map(region => touchedOf(region, pagemap, buffer));
  } finally {
    closeSync(pagemap);
  }
}

function touchedOf(region: Region, pagemap: number, buffer: Buffer): TouchedPages {
  const written = new RangeBuilder();
  const read = new RangeBuilder();
  const pages = region.size / PAGE;
  const firstEntry = Number(region.start / BigInt(PAGE));
  for (let page = 0; page < pages; ) {
    const count = Math.min(ENTRIES, pages - page);
    const entries = Math.floor(readSync(pagemap, buffer, 0, count * 8, (firstEntry + page) * 8) / 8);
    if (entries === 0) break;
    for (let i = 0; i < entries; i++) {
      const flags = buffer[i * 8 + 7] ?? 0;
      if ((flags & PRESENT) === 0) continue;
      ((flags & FILE_PAGE) === 0 ? written : read).add(page + i);
    }
    page += entries;
  }
  return { region, written: written.ranges, read: read.ranges };
}

/** Collects ascending page numbers as ranges. */
class RangeBuilder {
  readonly ranges: PageRange[] = [];
  #first = 0;
  #count = 0;

  add(page: number): void {
    if (this.#count > 0 && page === this.#first + this.#count) {
      this.#count++;
      this.ranges[this.ranges.length - 1] = { first: this.#first, count: this.#count };
      return;
    }
    this.#first = page;
    this.#count = 1;
    this.ranges.push({ first: page, count: 1 });
  }
}
