/**
 * `MachOFile`: a 64-bit Mach-O file as plain data, the same for files that were read and files that are
 * made. It says what the file holds; `layoutMachO` computes what follows from that: counts and sizes, where
 * the parts of __LINKEDIT are, and the fields of load commands that say so.
 *
 * Addresses are `bigint`; file sizes and offsets are `number`, in bytes.
 *
 * @module
 */
import type { Contents, KeptBytes } from '../contents.ts';
import type { ByteSource } from '../source.ts';
import { LC } from './constants.ts';

export interface MachOFile {
  header: MachOHeader;
  /** In their order in the file. */
  commands: LoadCommand[];
  /** What __LINKEDIT is made of, or in objects the tail of the file; in order of the file. */
  linkedit: LinkeditBlob[];
  /** What neither headers nor segments nor `linkedit` cover: it stays where it was. */
  kept: KeptBytes[];
  /** The file that this was read from. */
  source: ByteSource | undefined;
}

/** What mach_header_64 says about the whole file, without what follows from the commands. */
export interface MachOHeader {
  /** CPU_TYPE_*. */
  cputype: number;
  /** CPU_SUBTYPE_*, features included. */
  cpusubtype: number;
  /** MH_*. */
  filetype: number;
  /** MH_FLAGS. */
  flags: number;
  reserved: number;
  /** As it was read, 0 for a new file: up to there the layout clears what longer commands leave. */
  sizeofcmds: number;
}

export type LoadCommand = SegmentCommand | OtherCommand;

/** LC_SEGMENT_64. */
export interface SegmentCommand {
  cmd: typeof LC.LC_SEGMENT_64;
  /** The sixteen bytes as Latin-1, without the NULs at the end. So are all names of sections. */
  segname: string;
  vmaddr: bigint;
  vmsize: bigint;
  fileoff: number;
  filesize: number;
  /** VM_PROT_*. */
  maxprot: number;
  initprot: number;
  /** SG_*. */
  flags: number;
  sections: MachOSection[];
  /**
   * `filesize` bytes at `fileoff`. The segment at offset 0 has the header and the commands in them, as they
   * were read: the layout writes the present ones over them. Undefined: no bytes in the file, or external,
   * which means that the caller writes them itself, or (__LINKEDIT) that they are the file's `linkedit`.
   */
  contents: Contents | undefined;
}

/** section_64. Its bytes are those of its segment at `offset`, which counts from the start of the file. */
export interface MachOSection {
  sectname: string;
  segname: string;
  addr: bigint;
  size: bigint;
  /** 0 for those that have no bytes in the file (S_ZEROFILL). */
  offset: number;
  /** A power of two. */
  align: number;
  reloff: number;
  nreloc: number;
  /** The type, S_*, and S_ATTR_*. */
  flags: number;
  reserved1: number;
  reserved2: number;
  reserved3: number;
}

/** Any load command but LC_SEGMENT_64, as bytes. `fields` and `withFields` read and change it. */
export interface OtherCommand {
  /** LC_*; the same number is in `bytes`. */
  cmd: number;
  /** The whole command, cmd and cmdsize included; a multiple of 8 bytes. */
  bytes: Uint8Array;
}

/** A part of __LINKEDIT, and the command fields that say where it is. */
export interface LinkeditBlob {
  kind: LinkeditKind;
  /** Kept where set; undefined: the layout places it, and all after it, in the canonical order. */
  offset: number | undefined;
  /** May be of no bytes: then only its place in the order is said. */
  contents: Contents;
}

/**
 * What a part of __LINKEDIT is. In canonical order: the one in which ld(1) writes them and codesign(1) and
 * strip(1) demand them (cctools-1035, `libstuff/checkout.c`, dyld_order, which has no function variants yet).
 */
export const LINKEDIT_KINDS = [
  // LC_DYLD_INFO and LC_DYLD_INFO_ONLY.
  'rebase',
  'bind',
  'weak-bind',
  'lazy-bind',
  'export',
  // LC_DYLD_CHAINED_FIXUPS, LC_DYLD_EXPORTS_TRIE: in place of the five before.
  'chained-fixups',
  'exports-trie',
  // LC_DYSYMTAB.
  'local-relocations',
  // A linkedit_data_command each.
  'segment-split-info',
  'function-starts',
  'data-in-code',
  'atom-info',
  'function-variants',
  'function-variant-fixups',
  'code-sign-drs',
  'linker-optimization-hint',
  // LC_SYMTAB.
  'symbols',
  // LC_TWOLEVEL_HINTS.
  'twolevel-hints',
  // LC_DYSYMTAB.
  'external-relocations',
  'indirect-symbols',
  'toc',
  'modtab',
  'extrefsyms',
  // LC_SYMTAB.
  'strings',
  // LC_CODE_SIGNATURE.
  'code-signature',
] as const;
export type LinkeditKind = (typeof LINKEDIT_KINDS)[number];

/** A file of this header, without commands. */
export const newMachO = (
  header: Pick<MachOHeader, 'cputype' | 'filetype'> & Partial<MachOHeader>,
): MachOFile => ({
  header: { cpusubtype: 0, flags: 0, reserved: 0, sizeofcmds: 0, ...header },
  commands: [],
  linkedit: [],
  kept: [],
  source: undefined,
});

/** A segment with the fields given; the others are 0, empty or undefined. */
export const newSegment = (
  fields: Pick<SegmentCommand, 'segname'> & Partial<SegmentCommand>,
): SegmentCommand => ({
  cmd: LC.LC_SEGMENT_64,
  vmaddr: 0n,
  vmsize: 0n,
  fileoff: 0,
  filesize: 0,
  maxprot: 0,
  initprot: 0,
  flags: 0,
  sections: [],
  contents: undefined,
  ...fields,
});

/** A section with the fields given; the others are 0. */
export const newSection = (
  fields: Pick<MachOSection, 'sectname' | 'segname'> & Partial<MachOSection>,
): MachOSection => ({
  addr: 0n,
  size: 0n,
  offset: 0,
  align: 0,
  reloff: 0,
  nreloc: 0,
  flags: 0,
  reserved1: 0,
  reserved2: 0,
  reserved3: 0,
  ...fields,
});

export const isSegment = (command: LoadCommand): command is SegmentCommand => 'sections' in command;
