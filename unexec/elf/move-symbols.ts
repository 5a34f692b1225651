/**
 * Symbols of sections that have moved: those of sections themselves, which some linkers keep (GNU ld for
 * AArch64), and `_DYNAMIC`.
 *
 * @module
 */
import {
  Elf64_Sym,
  type ElfFile,
  LE,
  readSymbols,
  SHN,
  SHT,
  sectionContents,
} from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';

const { st_shndx, st_value } = Elf64_Sym.offsets;

/**
 * Moves the symbols of .symtab along with sections that have moved.
 *
 * @param addresses where the sections have been
 */
export function moveSymbols(file: ElfFile, addresses: readonly bigint[]): void {
  const distances = new Map<number, bigint>();
  for (const [index, address] of addresses.entries()) {
    const distance = (file.sections[index]?.address ?? address) - address;
    if (distance !== 0n && index < SHN.SHN_LORESERVE) distances.set(index, distance);
  }
  if (distances.size === 0) return;
  const dynamic = file.sections.findIndex(({ type }) => type === SHT.SHT_DYNAMIC);
  for (const section of file.sections) {
    if (section.type !== SHT.SHT_SYMTAB) continue;
    // GNU ld for AArch64 makes an absolute one of it.
    const dynamicSymbol =
      readSymbols(file, section).findIndex(({ name }) => name === '_DYNAMIC') * Elf64_Sym.size;
    const contents = sectionContents(section).slice();
    const view = viewOf(contents);
    let moved = 0;
    for (let at = 0; at + Elf64_Sym.size <= contents.length; at += Elf64_Sym.size) {
      const index = view.getUint16(at + st_shndx, LE);
      const distance = distances.get(index === SHN.SHN_ABS && at === dynamicSymbol ? dynamic : index);
      if (distance === undefined) continue;
      view.setBigUint64(at + st_value, view.getBigUint64(at + st_value, LE) + distance, LE);
      moved++;
    }
    if (moved > 0) section.contents = contents;
  }
}
