/**
 * Regions by address, and which of them an allocator can own.
 *
 * @module
 */
import { endOf, type Region } from '../image.ts';

/** `[start, end)` */
export interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** The region that contains `address`; `regions` are sorted and do not overlap. */
export function regionAt(regions: readonly Region[], address: bigint): Region | undefined {
  let low = 0;
  let high = regions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const region = regions[middle];
    if (region === undefined || region.start > address) high = middle;
    else if (endOf(region) <= address) low = middle + 1;
    else return region;
  }
  return undefined;
}

/** Private memory without a file: where allocators live. `[anon:NAME]` is the same with a name (prctl). */
export const isAnonymous = (region: Region): boolean =>
  !region.shared && region.inode === 0 && (region.name === '' || region.name.startsWith('[anon:'));

/** Anonymous memory that can be written to. */
export const isOwnMemory = (region: Region): boolean => isAnonymous(region) && region.read && region.write;

/** Order for `sort`. */
export const byValue = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
