/**
 * Memory made by hand: stretches of bytes at their addresses, nothing elsewhere.
 *
 * @module
 */
import { endOf, type MemoryImage, type MemoryRegion, PAGE } from '../../unexec/image.ts';

export interface Stretch {
  readonly start: bigint;
  readonly bytes: Uint8Array;
  readonly name?: string;
}

/** Memory that holds these stretches; every page of them counts as touched. */
export function memoryOf(stretches: readonly Stretch[]): MemoryImage {
  const regions = stretches.map(
    ({ start, bytes, name = '' }): MemoryRegion => ({
      start,
      size: bytes.length,
      read: true,
      write: true,
      execute: false,
      shared: false,
      inode: 0,
      name,
    }),
  );
  return {
    arch: 'x86_64',
    regions,
    memory: {
      read(address, into) {
        const end = address + BigInt(into.length);
        into.fill(0);
        for (const [i, region] of regions.entries()) {
          if (region.start >= end || endOf(region) <= address) continue;
          const from = Math.max(0, Number(address - region.start));
          const to = Math.min(region.size, Number(end - region.start));
          const bytes = stretches[i]?.bytes.subarray(from, to) ?? new Uint8Array(0);
          into.set(bytes, Number(region.start - address) + from);
        }
      },
      touched: ({ size }) => [{ first: 0, count: Math.ceil(size / PAGE) }],
    },
  };
}
