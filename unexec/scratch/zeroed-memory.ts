/**
 * The memory of a run in which scratch is zero: whatever is made of it, nobody sees what was there.
 *
 * @module
 */
import type { MemoryImage } from '../image.ts';
import type { ScratchRange } from '../scratch.ts';

/** @param slide what is added to the file's addresses in this run */
export function withoutScratch(
  image: MemoryImage,
  scratch: readonly ScratchRange[],
  slide: bigint,
): MemoryImage {
  if (scratch.length === 0) return image;
  const { memory } = image;
  return {
    arch: image.arch,
    regions: image.regions,
    memory: {
      touched: region => memory.touched(region),
      read: (address, into) => {
        memory.read(address, into);
        for (const range of scratch) {
          const start = Number(range.address + slide - address);
          if (start < into.length && start + range.size > 0)
            into.fill(0, Math.max(0, start), start + range.size);
        }
      },
    },
  };
}
