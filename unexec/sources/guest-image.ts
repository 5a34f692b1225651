/**
 * The memory of an emulated program, by the addresses that it sees itself.
 *
 * @module
 */
import { type Arch, endOf, type MemoryImage, type MemoryRegion } from '../image.ts';

/**
 * The same memory, moved by what the emulator adds to the program's addresses (qemu: guest_base). What lies below
 * all of them is the emulator's.
 */
export function guestImage({ regions, memory }: MemoryImage, arch: Arch, base: bigint): MemoryImage {
  if (base === 0n) return { arch, regions, memory };
  const moved = (region: MemoryRegion, by: bigint): MemoryRegion => ({ ...region, start: region.start + by });
  return {
    arch,
    regions: regions
      .filter(region => endOf(region) > base && region.start >= base)
      .map(region => moved(region, -base)),
    memory: {
      read: (address, into) => memory.read(address + base, into),
      touched: region => memory.touched(moved(region, base)),
    },
  };
}
