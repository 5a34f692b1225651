/**
 * Where the parts of a dumped program's file go that are no memory: the loader's new tables, and behind all that is
 * loaded what no loader reads, the section headers last.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../../../formats/contents.ts';
import {
  Elf64_Phdr,
  type ElfFile,
  type ElfSection,
  hasFileBytes,
  newSection,
  newSegment,
  PF,
  PT,
  SHF,
  SHT,
  sectionSize,
} from '../../../formats/elf/index.ts';
import { CHUNK } from '../../chunk-writer.ts';
import { moveSymbols } from '../../elf/move-symbols.ts';
import { describeSection, placeSectionTables } from '../../elf/section-tables.ts';
import { PAGE } from '../../image.ts';
import type { FilePlan } from './write-file.ts';

/** A table for the loader, in the read-only segment behind the reserve. */
export interface NewTable {
  readonly section: Pick<ElfSection, 'name' | 'type'> & Partial<ElfSection>;
  readonly contents: Uint8Array;
}

export interface PlacedTable extends NewTable {
  readonly address: bigint;
}

/** Puts the tables into their segment, from `end` on; says where they end. */
export function placeTables(
  { file, tables, tablesSegment }: Pick<FilePlan, 'file' | 'tables' | 'tablesSegment'>,
  end: number,
): number {
  if (tablesSegment === undefined) return end;
  const align = Math.max(tablesSegment.align, PAGE);
  const offset = roundUp(end, align) + Number(tablesSegment.address % BigInt(align));
  tablesSegment.offset = offset;
  const addresses = file.sections.map(({ address: was }) => was);
  for (const { section, contents, address } of tables) {
    const at = offset + Number(address - tablesSegment.address);
    const present = file.sections.find(({ name }) => name === section.name);
    const was = present?.address ?? address;
    const fields = { ...section, address, offset: at, contents, size: contents.length };
    if (present === undefined) describeSection(file, newSection({ flags: SHF.SHF_ALLOC, ...fields }));
    else Object.assign(present, fields);
    if (section.type === SHT.SHT_NOTE) setNoteSegment(file, { was, address }, at, contents.length);
  }
  moveSymbols(file, addresses);
  return offset + tablesSegment.fileSize;
}

/** The PT_NOTE of our notes: one that is there from an earlier dump, or a new one. */
function setNoteSegment(
  file: ElfFile,
  { was, address }: { readonly was: bigint; readonly address: bigint },
  offset: number,
  size: number,
): void {
  const fields = { offset, address, physicalAddress: address, fileSize: size, memorySize: size };
  const present = file.segments.find(({ type, address: old }) => type === PT.PT_NOTE && old === was);
  if (present !== undefined) Object.assign(present, fields);
  else file.segments.push(newSegment({ type: PT.PT_NOTE, flags: PF.PF_R, align: 4, ...fields }));
  const own = file.segments.find(({ type }) => type === PT.PT_PHDR);
  if (own === undefined) return;
  own.fileSize = file.segments.length * Elf64_Phdr.size;
  own.memorySize = own.fileSize;
}

/** What is not loaded and lay behind the first dumped segment, in its order; section headers and names last. */
export function placeUnloaded(file: ElfFile, firstOffset: number, end: number): void {
  let position = end;
  for (const section of file.sections) {
    if ((section.flags & SHF.SHF_ALLOC) !== 0 || !hasFileBytes(section)) continue;
    if ((section.offset ?? 0) < firstOffset || section === file.sections[file.shstrndx ?? 0]) continue;
    position = roundUp(position, Math.max(section.align, 1));
    section.offset = position;
    position += sectionSize(section);
  }
  file.kept = file.kept.flatMap(kept => {
    if (kept.offset < firstOffset) return [kept];
    // Padding is not worth keeping; what a program has behind its sections (an archive) goes behind them again.
    if (contentsSize(kept.contents) < PAGE || isBlank(kept.contents)) return [];
    position = roundUp(position, 8);
    const moved = { ...kept, offset: position };
    position += contentsSize(kept.contents);
    return [moved];
  });
  placeSectionTables(file);
}

/** Where the bss of a prepared program would be, its file has nothing. */
function isBlank(contents: Contents): boolean {
  const size = contentsSize(contents);
  for (let at = 0; at < size; at += CHUNK) {
    if (readContents(contents, at, Math.min(CHUNK, size - at)).some(byte => byte !== 0)) return false;
  }
  return true;
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
