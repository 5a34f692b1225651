/**
 * The three numbers for which the ELF header may be too small: of segments, of sections, and the index
 * of the section with the names. Then the header holds a mark and section 0 the number. gABI 4.1, "ELF
 * Header" and "Sections"; PN_XNUM as Linux writes it into cores of more than 65,534 mappings.
 *
 * @module
 */
import { FormatError, toNumber } from '../errors.ts';
import { PN_XNUM, SHN } from './constants.ts';
import { badHeader } from './header.ts';
import type { ElfFile } from './model.ts';
import type { Elf64_Ehdr, Elf64_Shdr } from './structs.ts';

/** How many sections a file has; `zero` is section 0, where there is an e_shoff. */
export function countSections({ e_shnum }: Elf64_Ehdr, zero: Elf64_Shdr | undefined): number {
  if (e_shnum >= SHN.SHN_LORESERVE) {
    throw badHeader('ELF_BAD_SHNUM', 'e_shnum', e_shnum, 'less than SHN_LORESERVE');
  }
  return e_shnum === 0 && zero ? toNumber('ELF: sh_size of section 0', zero.sh_size) : e_shnum;
}

/** How many segments a file has. */
export function countSegments({ e_phnum }: Elf64_Ehdr, zero: Elf64_Shdr | undefined): number {
  if (e_phnum !== PN_XNUM) return e_phnum;
  if (zero && zero.sh_info !== 0) return zero.sh_info;
  throw badHeader('ELF_BAD_PHNUM', 'e_phnum', 'PN_XNUM', 'the number in sh_info of section 0');
}

/** The index of the section with the names; SHN_UNDEF for none. */
export function indexOfNames({ e_shstrndx }: Elf64_Ehdr, zero: Elf64_Shdr | undefined): number {
  // Without sections it means nothing, and is kept.
  if (e_shstrndx < SHN.SHN_LORESERVE || !zero) return e_shstrndx;
  if (e_shstrndx === SHN.SHN_XINDEX && zero.sh_link !== 0) return zero.sh_link;
  const expected = 'less than SHN_LORESERVE, or SHN_XINDEX and the index in sh_link of section 0';
  throw badHeader('ELF_BAD_SHSTRNDX', 'e_shstrndx', e_shstrndx, expected);
}

/** The numbers as the header has them. */
export type Counts = Pick<Elf64_Ehdr, 'e_phnum' | 'e_shnum' | 'e_shstrndx'>;

/**
 * The numbers for the header, once section 0 (the first of `shdrs`) holds those that are too large for it.
 * A file that kept a small number in section 0 goes on to do so while the number is the same.
 */
export function layoutCounts(file: ElfFile, phnum: number, shdrs: Elf64_Shdr[], shstrndx: number): Counts {
  const was = file.header.asRead;
  const [zero] = shdrs;
  const shnum = shdrs.length;
  if (!zero) {
    if (phnum < PN_XNUM) return { e_phnum: phnum, e_shnum: 0, e_shstrndx: shstrndx };
    const message = `ELF: ${phnum} segments, expected a section 0 to hold their number`;
    throw new FormatError('ELF_BAD_PHNUM', message, { value: phnum });
  }
  const counts = { e_phnum: phnum, e_shnum: shnum, e_shstrndx: shstrndx };
  if (phnum >= PN_XNUM || (was?.e_phnum === PN_XNUM && zero.sh_info === phnum)) {
    counts.e_phnum = PN_XNUM;
    zero.sh_info = phnum;
  } else if (was?.e_phnum === PN_XNUM) zero.sh_info = 0;
  if (shnum >= SHN.SHN_LORESERVE || (was?.e_shnum === 0 && zero.sh_size === BigInt(shnum))) {
    counts.e_shnum = 0;
    zero.sh_size = BigInt(shnum);
  } else if (was?.e_shnum === 0) zero.sh_size = 0n;
  if (shstrndx >= SHN.SHN_LORESERVE || (was?.e_shstrndx === SHN.SHN_XINDEX && zero.sh_link === shstrndx)) {
    counts.e_shstrndx = SHN.SHN_XINDEX;
    zero.sh_link = shstrndx;
  } else if (was?.e_shstrndx === SHN.SHN_XINDEX) zero.sh_link = 0;
  return counts;
}
