/**
 * What `describeFile` gives: a file as a list of parts, each byte in exactly one of them, and its images (one, or
 * one a slice of a fat file) with their memory, segments, sections and symbols. Plain data but for the lookups.
 *
 * Offsets and sizes are bytes, offsets always those of the whole file, also in a slice. Addresses are those that the
 * file itself gives, before any slide.
 *
 * @module
 */

export interface FileDescription {
  readonly format: 'ELF' | 'Mach-O' | 'fat Mach-O';
  /** Bytes. */
  readonly size: number;
  /** Every byte of the file: ascending, disjoint, without gaps between them; none has size 0. */
  readonly parts: readonly Part[];
  /** The one program, library, object or core that the file is; of a fat file one a slice, in their order. */
  readonly images: readonly ImageDescription[];
}

/**
 * - `header`: what says where the rest is: ELF header, program and section headers, Mach-O load commands, fat header
 * - `section`: a section's bytes; in an image of the style resume, a stretch of a region
 * - `segment`: bytes of a segment that are in no section: a core's memory, a program without section headers
 * - `linkedit`: tables of the linker that no section holds: parts of __LINKEDIT, a Mach-O object's relocations
 * - `note`: what an LC_NOTE points at, or a PT_NOTE without a section
 * - `gap`: in nothing of these: padding, what a table left behind
 */
export type PartKind = 'header' | 'section' | 'segment' | 'linkedit' | 'note' | 'gap';

/** What a stretch of the file is. */
export interface Part {
  readonly kind: PartKind;
  /** `.text`, `__TEXT,__text`, `section headers`, `PT_LOAD r-x`, `exports-trie`, `padding`. Not unique. */
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  /** Of the first byte; undefined where the part is not in memory. */
  readonly address: bigint | undefined;
  /** `r-x`; undefined where the part is not in memory. */
  readonly protection: string | undefined;
  /** Index in `sections` of the image. */
  readonly section: number | undefined;
  /** Index in `segments` of the image. */
  readonly segment: number | undefined;
  /** Index in `images`; undefined for what belongs to a fat file itself. */
  readonly image: number | undefined;
}

export interface ImageDescription {
  readonly format: 'ELF' | 'Mach-O';
  /**
   * `executable`, `position-independent executable`, `shared library`, `relocatable`, `core`, `debug file`, `bundle`, …,
   * and `image` for what the style resume writes.
   */
  readonly kind: string;
  /** `x86_64`, `aarch64` (ELF), `arm64`, `arm64e` (Mach-O). */
  readonly arch: string;
  /** Where the image begins in the file: 0, but for slices. */
  readonly offset: number;
  /** Bytes in the file. */
  readonly size: number;
  /** In the order of their headers. */
  readonly segments: readonly SegmentDescription[];
  /** In the order of their headers: of ELF the null section is at 0, of Mach-O what n_sect calls 1. */
  readonly sections: readonly SectionDescription[];
  /** What is in memory: ascending by address, disjoint; between them is nothing. Empty for an ELF relocatable. */
  readonly memory: readonly MemoryPart[];
  /** The address of a byte of the file; undefined where it is in no memory. */
  addressOf(offset: number): bigint | undefined;
  /** Where in the file the byte at an address is; undefined where it has none. */
  offsetOf(address: bigint): number | undefined;
  /**
   * The symbol that an address is in. The first lookup reads the whole symbol table.
   *
   * @throws FormatError for a symbol table that makes no sense
   */
  symbolAt(address: bigint): SymbolPlace | undefined;
  /** The same for a byte of the file: in a relocatable the only way, since it has no addresses. */
  symbolAtOffset(offset: number): SymbolPlace | undefined;
  /**
   * Symbols whose name contains the text, whatever the case: those that are it first, then those that begin with it.
   *
   * @throws FormatError for a symbol table that makes no sense
   */
  findSymbols(text: string, limit?: number): SymbolDescription[];
  /**
   * All symbols that are somewhere in the image, ascending by address, or by offset in a relocatable.
   *
   * @throws FormatError for a symbol table that makes no sense
   */
  symbols(): readonly SymbolDescription[];
}

export interface SegmentDescription {
  /** `PT_LOAD`, `__TEXT`. */
  readonly name: string;
  readonly offset: number;
  /** What its header claims: in a cut-off core or a debug file, beyond the end of the file. */
  readonly fileSize: number;
  readonly address: bigint;
  readonly memorySize: number;
  /** `r-x`. */
  readonly protection: string;
}

export interface SectionDescription {
  /** `.text`, `__TEXT,__text`. */
  readonly name: string;
  /** `SHT_PROGBITS`, `S_REGULAR`. */
  readonly type: string;
  /** Where its bytes in the file are; undefined where it has none. */
  readonly offset: number | undefined;
  readonly fileSize: number;
  /** Undefined where it is not in memory. */
  readonly address: bigint | undefined;
  /** Bytes in memory; 0 where it is not there. */
  readonly memorySize: number;
  /** `rw-`; undefined where it is not in memory. */
  readonly protection: string | undefined;
}

/** What a stretch of memory is. */
export interface MemoryPart {
  readonly kind: PartKind;
  readonly name: string;
  readonly address: bigint;
  readonly size: number;
  /**
   * Where its bytes come from: all of them from the file, none because they are zero, or none because the file does not
   * have them as they are (debug files, cut-off cores, what a core leaves out, pages of a frozen process that are in other
   * files or compressed).
   */
  readonly backing: 'file' | 'zero' | 'absent';
  /** Of the first byte, for `file`. */
  readonly offset: number | undefined;
  readonly protection: string;
  readonly section: number | undefined;
  readonly segment: number | undefined;
}

export interface SymbolDescription {
  readonly name: string;
  /** Undefined in an ELF relocatable. */
  readonly address: bigint | undefined;
  /** Undefined where the symbol has no bytes in the file. */
  readonly offset: number | undefined;
  /** Bytes, as far as the next symbol where the table does not say. */
  readonly size: number;
  readonly type: 'function' | 'object' | 'other';
}

export interface SymbolPlace {
  readonly symbol: SymbolDescription;
  /** Bytes from where the symbol begins. */
  readonly into: number;
}
