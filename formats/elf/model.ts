/**
 * `ElfFile`: an ELF64 file as plain data, the same for files that were read and files that are made.
 * It says what the file holds; `layoutElf` computes what follows from that (counts, table offsets,
 * name offsets, the place of whatever has none).
 *
 * Addresses are `bigint`; sizes and file offsets are `number`, in bytes.
 *
 * @module
 */
import { type Contents, contentsSize, type KeptBytes } from '../contents.ts';
import type { ByteSource } from '../source.ts';
import { EM, SHT } from './constants.ts';
import type { Elf64_Ehdr } from './structs.ts';

export { type Contents, contentsSize, type KeptBytes, readContents } from '../contents.ts';

export interface ElfFile {
  header: ElfHeader;
  segments: ElfSegment[];
  /** The first one is the null section (gABI), unless there are none at all. */
  sections: ElfSection[];
  /** Index of the section that holds the section names; undefined: the layout adds `.shstrtab`. */
  shstrndx: number | undefined;
  /** Where the program header table is; undefined: the layout places it. */
  phoff: number | undefined;
  /** Where the section header table is; undefined: the layout places it. */
  shoff: number | undefined;
  /** What a file holds that neither its sections nor its tables cover: it stays where it was. */
  kept: KeptBytes[];
  /** The file that this was read from. */
  source: ByteSource | undefined;
}

/** What `Elf64_Ehdr` says about the whole file, without what follows from the rest. */
export interface ElfHeader {
  /** ET_*. */
  type: number;
  /** EM_*. */
  machine: number;
  entry: bigint;
  /** e_flags: 0 on x86-64 and AArch64. */
  flags: number;
  /** ELFOSABI_*. */
  osabi: number;
  abiVersion: number;
  /**
   * The header as it was read. From it come the fields that mean nothing here and are kept all the
   * same: the padding of e_ident, e_ehsize, entry sizes of tables without entries.
   */
  asRead: Elf64_Ehdr | undefined;
}

/** A program header. */
export interface ElfSegment {
  /** PT_*. */
  type: number;
  /** PF_*. */
  flags: number;
  offset: number;
  /** p_vaddr. */
  address: bigint;
  /** p_paddr. */
  physicalAddress: bigint;
  /** p_filesz. */
  fileSize: number;
  /** p_memsz. */
  memorySize: number;
  align: number;
  /**
   * Indices of the sections that this segment is made of, in order of offset. Where given, the layout
   * computes offset, addresses and sizes from them.
   */
  sections: readonly number[] | undefined;
}

/** A section header, and what it describes. */
export interface ElfSection {
  name: string;
  /** SHT_*. */
  type: number;
  /** SHF_*. */
  flags: number;
  address: bigint;
  /** Kept where set; undefined: the layout places the section. */
  offset: number | undefined;
  /** Counts where there are no `contents` (NOBITS, external); otherwise they say how large it is. */
  size: number;
  link: number;
  info: number;
  align: number;
  entsize: number;
  /**
   * Undefined: none in the file (SHT_NULL, SHT_NOBITS), or external, which means that the caller writes
   * `size` bytes at the section's offset itself.
   */
  contents: Contents | undefined;
  /** sh_name as it was read; used as long as `name` is what stands there. */
  nameOffset: number | undefined;
}

/** An empty file: no segments, no section but the null section. */
export function newElf(header: Pick<ElfHeader, 'type'> & Partial<ElfHeader>): ElfFile {
  return {
    header: {
      machine: EM.EM_X86_64,
      entry: 0n,
      flags: 0,
      osabi: 0,
      abiVersion: 0,
      asRead: undefined,
      ...header,
    },
    segments: [],
    sections: [newSection({ name: '', type: SHT.SHT_NULL, align: 0 })],
    shstrndx: undefined,
    phoff: undefined,
    shoff: undefined,
    kept: [],
    source: undefined,
  };
}

/** A section with the fields given; the others are 0, empty or undefined, and `align` is 1. */
export const newSection = (fields: Pick<ElfSection, 'name' | 'type'> & Partial<ElfSection>): ElfSection => ({
  flags: 0,
  address: 0n,
  offset: undefined,
  size: 0,
  link: 0,
  info: 0,
  align: 1,
  entsize: 0,
  contents: undefined,
  nameOffset: undefined,
  ...fields,
});

/** A segment with the fields given; the others are 0, and `physicalAddress` is `address`. */
export const newSegment = (fields: Pick<ElfSegment, 'type' | 'flags'> & Partial<ElfSegment>): ElfSegment => ({
  offset: 0,
  address: 0n,
  physicalAddress: fields.address ?? 0n,
  fileSize: 0,
  memorySize: 0,
  align: 1,
  sections: undefined,
  ...fields,
});

/** Appends a section and says at which index. */
export const addSection = (file: ElfFile, section: ElfSection): number => file.sections.push(section) - 1;

/** Whether sections of this type have bytes in the file. */
export const hasFileBytes = (section: ElfSection): boolean =>
  section.type !== SHT.SHT_NULL && section.type !== SHT.SHT_NOBITS;

/** Size of a section in bytes: that of its contents where it has some. */
export const sectionSize = (section: ElfSection): number =>
  section.contents ? contentsSize(section.contents) : section.size;
