/**
 * The C structs of ELF64, declared once. From `elf.h` of glibc 2.36, gABI 4.1 chapters 4 and 5. Reading
 * and writing pass `LE`: only little-endian files are supported (x86-64 and AArch64 Linux).
 *
 * @module
 */
import { bytes, i64, struct, u8, u16, u32, u64, type Value } from '../struct.ts';

/** The byte order of every file that we read and write, as the `le` argument of a struct. */
export const LE = true;

export const Elf64_Ehdr = struct({
  e_ident: bytes(16),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: u64,
  e_phoff: u64,
  e_shoff: u64,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  /** PN_XNUM: the number is in sh_info of section 0. */
  e_phnum: u16,
  e_shentsize: u16,
  /** 0 with an e_shoff: the number is in sh_size of section 0. */
  e_shnum: u16,
  /** SHN_XINDEX: the index is in sh_link of section 0. */
  e_shstrndx: u16,
});
export type Elf64_Ehdr = Value<typeof Elf64_Ehdr>;

export const Elf64_Phdr = struct({
  p_type: u32,
  p_flags: u32,
  p_offset: u64,
  p_vaddr: u64,
  p_paddr: u64,
  p_filesz: u64,
  p_memsz: u64,
  p_align: u64,
});
export type Elf64_Phdr = Value<typeof Elf64_Phdr>;

export const Elf64_Shdr = struct({
  sh_name: u32,
  sh_type: u32,
  sh_flags: u64,
  sh_addr: u64,
  sh_offset: u64,
  sh_size: u64,
  sh_link: u32,
  sh_info: u32,
  sh_addralign: u64,
  sh_entsize: u64,
});
export type Elf64_Shdr = Value<typeof Elf64_Shdr>;

/** Tables of these are read and written by symbols.ts, which has a loop of its own. */
export const Elf64_Sym = struct({
  st_name: u32,
  /** Binding in the high four bits, type in the low ones. */
  st_info: u8,
  /** Visibility in the low two bits. */
  st_other: u8,
  st_shndx: u16,
  st_value: u64,
  st_size: u64,
});
export type Elf64_Sym = Value<typeof Elf64_Sym>;

export const Elf64_Nhdr = struct({ n_namesz: u32, n_descsz: u32, n_type: u32 });
export type Elf64_Nhdr = Value<typeof Elf64_Nhdr>;

/** `r_info` is the symbol's index in the high 32 bits and the type in the low ones. */
export const Elf64_Rela = struct({ r_offset: u64, r_info: u64, r_addend: i64 });
export type Elf64_Rela = Value<typeof Elf64_Rela>;

export const Elf64_Rel = struct({ r_offset: u64, r_info: u64 });
export type Elf64_Rel = Value<typeof Elf64_Rel>;

export const Elf64_Dyn = struct({ d_tag: i64, d_un: u64 });
export type Elf64_Dyn = Value<typeof Elf64_Dyn>;

export const Elf64_Verdef = struct({
  vd_version: u16,
  /** VER_FLG_*. */
  vd_flags: u16,
  /** The index that SHT_GNU_versym uses for this version. */
  vd_ndx: u16,
  vd_cnt: u16,
  vd_hash: u32,
  /** From here to the first Elf64_Verdaux, the version's own name. */
  vd_aux: u32,
  /** From here to the next one; 0: the last. */
  vd_next: u32,
});
export type Elf64_Verdef = Value<typeof Elf64_Verdef>;

export const Elf64_Verdaux = struct({ vda_name: u32, vda_next: u32 });
export type Elf64_Verdaux = Value<typeof Elf64_Verdaux>;

export const Elf64_Verneed = struct({
  vn_version: u16,
  vn_cnt: u16,
  /** Name of the library. */
  vn_file: u32,
  vn_aux: u32,
  vn_next: u32,
});
export type Elf64_Verneed = Value<typeof Elf64_Verneed>;

export const Elf64_Vernaux = struct({
  vna_hash: u32,
  vna_flags: u16,
  /** The index that SHT_GNU_versym uses for this version. */
  vna_other: u16,
  vna_name: u32,
  vna_next: u32,
});
export type Elf64_Vernaux = Value<typeof Elf64_Vernaux>;
