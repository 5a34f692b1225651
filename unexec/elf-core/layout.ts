/**
 * The addresses that the kernel knows of a process (`struct mm_struct`), from where its program and its heap are.
 * Facts: load_elf_binary() of Linux 6.1.
 *
 * @module
 */
import { type ElfFile, PF, PT } from '../../formats/elf/index.ts';
import { type AddressLayout, endOf, type Module, PAGE_BIG, type Region } from '../image.ts';
import { byValue } from '../zones/regions.ts';
import type { KnownPlaces } from './name-regions.ts';

export function addressLayout(
  program: ElfFile | undefined,
  module: Module | undefined,
  regions: readonly Region[],
  { startStack, brk }: KnownPlaces,
): AddressLayout {
  const bias = module?.bias ?? 0n;
  const loads = program?.segments.filter(({ type }) => type === PT.PT_LOAD) ?? [];
  const starts = (of: typeof loads): bigint[] => of.map(({ address }) => bias + address);
  const ends = (of: typeof loads): bigint[] =>
    of.map(({ address, fileSize }) => bias + address + BigInt(fileSize));
  const code = loads.filter(({ flags }) => (flags & PF.PF_X) !== 0);
  const end = roundUp(module?.end ?? 0n);
  // A heap right behind the program can be one mapping with its bss.
  const heap = regions.find(region => brk !== 0n && region.start < brk && brk <= endOf(region));
  const startBrk = heap === undefined ? end : heap.start > end || heap.start < bias ? heap.start : end;
  return {
    startCode: least(starts(loads)),
    endCode: greatest(ends(code)),
    startData: greatest(starts(loads)),
    endData: greatest(ends(loads)),
    startBrk,
    brk: brk > startBrk ? brk : startBrk,
    startStack,
  };
}

/** The first in order; 0n of none. */
const least = (values: readonly bigint[]): bigint => [...values].sort(byValue)[0] ?? 0n;
const greatest = (values: readonly bigint[]): bigint => [...values].sort(byValue).at(-1) ?? 0n;
const roundUp = (address: bigint): bigint => ((address + PAGE_BIG - 1n) / PAGE_BIG) * PAGE_BIG;
