/**
 * Pages that madvise(2) has made guards (MADV_GUARD_INSTALL): marks in the page table, which no list of mappings
 * shows. glibc guards the stacks of threads by them from 2.42 on.
 * Facts: Documentation/admin-guide/mm/pagemap.rst (PAGEMAP_SCAN) of Linux 6.15, which first tells of them.
 *
 * @module
 */
import { closeSync, openSync } from 'node:fs';
import type { AddressRange } from '../image.ts';
import { addressOf, ioctl } from './libc.ts';

const PAGEMAP_SCAN = 0xc060_6610;
const PAGE_IS_GUARD = 1n << 8n;
/** struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages, and four masks. */
const SCAN = {
  size: 96,
  start: 16,
  end: 24,
  walkEnd: 32,
  vec: 40,
  vecLength: 48,
  mask: 72,
  wanted: 88,
} as const;
/** struct page_region: start, end, categories. */
const RANGE_SIZE = 24;
const RANGES = 256;
/** The highest address of a process, with 4-level page tables. */
const ADDRESS_END = 0x7fff_ffff_f000n;

/** All of a process; none where the kernel does not tell. */
export function guardPages(pid: number): AddressRange[] {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const ranges = new Uint8Array(RANGES * RANGE_SIZE);
  const found = new DataView(ranges.buffer);
  const argument = new Uint8Array(SCAN.size);
  const view = new DataView(argument.buffer);
  view.setBigUint64(0, BigInt(SCAN.size), true);
  view.setBigUint64(SCAN.end, ADDRESS_END, true);
  view.setBigUint64(SCAN.vec, addressOf(ranges), true);
  view.setBigUint64(SCAN.vecLength, BigInt(RANGES), true);
  view.setBigUint64(SCAN.mask, PAGE_IS_GUARD, true);
  view.setBigUint64(SCAN.wanted, PAGE_IS_GUARD, true);
  const guards: AddressRange[] = [];
  try {
    for (let from = 0n; from < ADDRESS_END; ) {
      view.setBigUint64(SCAN.start, from, true);
      const count = ioctl(pagemap, PAGEMAP_SCAN, argument);
      if (count < 0) break;
      for (let i = 0; i < count; i++) {
        const start = found.getBigUint64(i * RANGE_SIZE, true);
        guards.push({ start, size: Number(found.getBigUint64(i * RANGE_SIZE + 8, true) - start) });
      }
      const end = view.getBigUint64(SCAN.walkEnd, true);
      if (end <= from) break;
      from = end;
    }
  } finally {
    closeSync(pagemap);
  }
  return guards;
}
