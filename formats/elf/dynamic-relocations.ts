/**
 * The relocations that a dynamic loader applies, found as it finds them: through DT_RELR, DT_RELA and
 * DT_JMPREL, without section headers. gABI 4.1, "Dynamic Section". A static program has none of these; the
 * IRELATIVE ones that its own start code applies are in a section alone.
 *
 * @module
 */
import { FormatError, toNumber } from '../errors.ts';
import { nameOf } from '../names.ts';
import { DT, SHF, SHT } from './constants.ts';
import { badDynamic, bytesOf, type ElfDynamic, readDynamic, tableAt } from './dynamic.ts';
import { sectionContents } from './find.ts';
import type { ElfFile } from './model.ts';
import { decodeRela, type RelaTable } from './relocations.ts';
import { decodeRelr } from './relr.ts';

export interface DynamicRelocations {
  /** Addresses of DT_RELR: the word there is relative, and holds its addend. */
  readonly relr: BigUint64Array;
  /** DT_RELA: relative ones first as a rule (DT_RELACOUNT). */
  readonly rela: RelaTable;
  /** DT_JMPREL: of functions, perhaps bound when they are first called. */
  readonly jmprel: RelaTable;
}

/**
 * The relocations of a program or library; without a dynamic section (a static program), those of its
 * allocated SHT_RELA sections as `rela`.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_RELOCATIONS`, `ELF_BAD_RELR`; `ELF_UNSUPPORTED_REL` for
 *   relocations without addends
 */
export function readDynamicRelocations(file: ElfFile): DynamicRelocations {
  const entries = readDynamic(file);
  refuseRel(entries);
  const rela = tableBytes(file, entries, DT.DT_RELA, DT.DT_RELASZ);
  const jmprel = tableBytes(file, entries, DT.DT_JMPREL, DT.DT_PLTRELSZ);
  return {
    relr: decodeRelr(tableBytes(file, entries, DT.DT_RELR, DT.DT_RELRSZ)),
    rela: entries.length === 0 ? allocatedRelocations(file) : decodeRela(rela),
    jmprel: decodeRela(jmprel),
  };
}

function refuseRel(entries: readonly ElfDynamic[]): void {
  const pltrel = entries.find(({ tag }) => tag === DT.DT_PLTREL)?.value;
  const found = entries.some(({ tag }) => tag === DT.DT_REL)
    ? 'there is a DT_REL'
    : pltrel === BigInt(DT.DT_REL) && 'DT_PLTREL is DT_REL';
  if (found) throw unsupported(`${found}, expected relocations with addends (DT_RELA)`);
}

function tableBytes(file: ElfFile, entries: readonly ElfDynamic[], tag: number, sizeTag: number): Uint8Array {
  const table = tableAt(file, entries, tag);
  if (table === undefined) return new Uint8Array();
  const size = entries.find(entry => entry.tag === sizeTag)?.value;
  if (size === undefined)
    throw badDynamic(`there is a ${nameOf(DT, tag)} without ${nameOf(DT, sizeTag)}, expected both`);
  return bytesOf(table, nameOf(DT, tag), 0, toNumber(`ELF: ${nameOf(DT, sizeTag)}`, size));
}

function allocatedRelocations(file: ElfFile): RelaTable {
  const isAllocated = (flags: number): boolean => (flags & SHF.SHF_ALLOC) !== 0;
  const sections = file.sections.filter(({ flags }) => isAllocated(flags));
  const rel = sections.find(({ type }) => type === SHT.SHT_REL);
  if (rel) throw unsupported(`section ${JSON.stringify(rel.name)} is SHT_REL, expected SHT_RELA`);
  // Linkers write one (.rela.plt or .rela.dyn); hostile files can have many of the same bytes.
  const first = sections.find(({ type }) => type === SHT.SHT_RELA);
  return decodeRela(first ? sectionContents(first) : new Uint8Array());
}

const unsupported = (why: string): FormatError => new FormatError('ELF_UNSUPPORTED_REL', `ELF: ${why}`);
