/**
 * What of its address space and of its file an ELF program takes, and where more can go. gABI 4.1, "Program
 * Loading"; page sizes: Linux 6.1, arch/{x86,arm64}/Kconfig.
 *
 * @module
 */
import {
  contentsSize,
  Elf64_Ehdr,
  Elf64_Phdr,
  Elf64_Shdr,
  type ElfFile,
  type ElfSegment,
  EM,
  hasFileBytes,
  PT,
  sectionSize,
} from '../../formats/elf/index.ts';

/** The smallest page there is, and the largest that kernels for AArch64 are built with. */
const SMALLEST_PAGE = 0x1000;
const LARGEST_ARM_PAGE = 0x1_0000;

/** The segments that are loaded, in order of address. */
export const loadsOf = ({ segments }: ElfFile): ElfSegment[] =>
  segments
    .filter(({ type }) => type === PT.PT_LOAD)
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));

/** The first address behind all segments. */
export function endOfMemory(file: ElfFile): bigint {
  let end = 0n;
  for (const { address, memorySize } of loadsOf(file)) {
    const after = address + BigInt(memorySize);
    if (after > end) end = after;
  }
  return end;
}

/** The first offset behind everything that has a place in the file. */
export function endOfFile(file: ElfFile): number {
  const ends = [
    Elf64_Ehdr.size,
    (file.phoff ?? 0) + file.segments.length * Elf64_Phdr.size,
    (file.shoff ?? 0) + file.sections.length * Elf64_Shdr.size,
    ...file.segments
      .filter(({ type }) => type === PT.PT_LOAD)
      .map(({ offset, fileSize }) => offset + fileSize),
    ...file.kept.map(({ offset, contents }) => offset + contentsSize(contents)),
  ];
  for (const section of file.sections) {
    if (section.offset !== undefined && hasFileBytes(section))
      ends.push(section.offset + sectionSize(section));
  }
  return ends.reduce((a, b) => Math.max(a, b));
}

/** p_align for one more PT_LOAD: that of the others. */
export const alignmentOf = (file: ElfFile): number =>
  loadsOf(file).reduce((most, { align }) => Math.max(most, align), SMALLEST_PAGE);

/**
 * What borders between segments of different rights are multiples of: the largest page that a kernel may have,
 * as far as the linker thought of it.
 */
export const borderUnit = (file: ElfFile): number =>
  Math.min(alignmentOf(file), file.header.machine === EM.EM_AARCH64 ? LARGEST_ARM_PAGE : SMALLEST_PAGE);

/** The first multiple of `unit` from `value` on. */
export const roundUp = (value: bigint, unit: number): bigint =>
  ((value + BigInt(unit) - 1n) / BigInt(unit)) * BigInt(unit);

/** The first offset from `from` on at which bytes for `address` can be mapped: the same modulo p_align. */
export function mappableOffset(file: ElfFile, address: bigint, from: number): number {
  const align = BigInt(alignmentOf(file));
  return from + Number((((address - BigInt(from)) % align) + align) % align);
}
