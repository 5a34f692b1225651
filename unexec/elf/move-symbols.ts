/**
 * Symbols of sections that have moved: those of sections themselves, which some linkers keep (GNU ld for
 * AArch64), and `_DYNAMIC`.
 *
 * @module
 */
import { Elf64_Sym, type ElfFile, LE, SHN, SHT, sectionContents } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';

const { st_shndx, st_value } = Elf64_Sym.offsets;

/** Moves the symbols of .symtab along with the sections whose addresses are other ones than in `original`. */
export function moveSymbols(file: ElfFile, original: ElfFile): void {
  const distances = new Map<number, bigint>();
  for (const [index, { address }] of original.sections.entries()) {
    const distance = (file.sections[index]?.address ?? address) - address;
    if (distance !== 0n && index < SHN.SHN_LORESERVE) distances.set(index, distance);
  }
  if (distances.size === 0) return;
  for (const section of file.sections) {
    if (section.type !== SHT.SHT_SYMTAB) continue;
    const contents = sectionContents(section).slice();
    const view = viewOf(contents);
    let moved = 0;
    for (let at = 0; at + Elf64_Sym.size <= contents.length; at += Elf64_Sym.size) {
      const distance = distances.get(view.getUint16(at + st_shndx, LE));
      if (distance === undefined) continue;
      view.setBigUint64(at + st_value, view.getBigUint64(at + st_value, LE) + distance, LE);
      moved++;
    }
    if (moved > 0) section.contents = contents;
  }
}
