/**
 * What the dynamic loader sees: the entries of PT_DYNAMIC and the tables that they lead to, without any
 * section header. gABI 4.1, "Dynamic Section".
 *
 * Addresses are those of the file (p_vaddr): a library that is loaded has other ones, and its dynamic
 * section in memory may have been relocated by its loader.
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../errors.ts';
import { nameOf } from '../names.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { DT, PT } from './constants.ts';
import { atAddress, findSegment, segmentContents } from './find.ts';
import type { ElfFile } from './model.ts';
import { StringTable } from './strings.ts';
import { Elf64_Dyn, LE } from './structs.ts';

export interface ElfDynamic {
  /** DT_*; those of operating systems and processors are above 0x60000000. */
  readonly tag: number;
  /** d_val or d_ptr. */
  readonly value: bigint;
}

/** A dynamic section is a few hundred bytes; what claims more than this is none. */
const MAX_SIZE = 1024 * 1024;

/**
 * The entries of PT_DYNAMIC up to DT_NULL; none where the file has no such segment.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_TRUNCATED`
 */
export function readDynamic(file: ElfFile): ElfDynamic[] {
  const segment = findSegment(file, PT.PT_DYNAMIC);
  if (!segment) return [];
  if (segment.fileSize > MAX_SIZE) {
    const found = `p_filesz of PT_DYNAMIC is ${hex(segment.fileSize)}`;
    throw badDynamic(`${found}, expected at most ${hex(MAX_SIZE)}`, segment.fileSize);
  }
  const bytes = segmentContents(file, segment);
  const view = viewOf(bytes);
  const entries: ElfDynamic[] = [];
  for (let at = 0; at + Elf64_Dyn.size <= bytes.length; at += Elf64_Dyn.size) {
    const { d_tag, d_un } = Elf64_Dyn.read(view, at, LE);
    if (d_tag === 0n) break;
    entries.push({ tag: toNumber(`ELF: d_tag of dynamic entry ${entries.length}`, d_tag), value: d_un });
  }
  return entries;
}

/** The strings of all entries with this tag: DT_NEEDED, DT_SONAME, DT_RUNPATH. */
export function dynamicStrings(file: ElfFile, tag: number): string[] {
  const entries = readDynamic(file);
  const wanted = entries.filter(entry => entry.tag === tag);
  if (wanted.length === 0) return [];
  const strings = dynamicStringTable(file, entries);
  return wanted.map(({ value }) => strings.at(toNumber('ELF: string offset of a dynamic entry', value)));
}

/** DT_STRTAB. */
export function dynamicStringTable(file: ElfFile, entries: readonly ElfDynamic[]): StringTable {
  const table = tableAt(file, entries, DT.DT_STRTAB);
  const size = entries.find(({ tag }) => tag === DT.DT_STRSZ)?.value;
  if (!table || size === undefined) throw badDynamic('names without DT_STRTAB or DT_STRSZ, expected both');
  return new StringTable(bytesOf(table, 'DT_STRTAB', 0, toNumber('ELF: DT_STRSZ', size)));
}

/** From the address that an entry gives to the end of its segment; undefined without such an entry. */
export function tableAt(file: ElfFile, entries: readonly ElfDynamic[], tag: number): ByteSource | undefined {
  const address = entries.find(entry => entry.tag === tag)?.value;
  if (address === undefined) return undefined;
  const table = atAddress(file, address);
  if (table) return table;
  throw badDynamic(`${nameOf(DT, tag)} is ${hex(address)}, expected an address within a PT_LOAD`, address);
}

/** `length` bytes at `offset` of a table that a tag leads to. */
export function bytesOf(table: ByteSource, what: string, offset: number, length: number): Uint8Array {
  if (offset <= table.size && length <= table.size - offset) return table.read(offset, length);
  const end = hex(offset + length);
  throw badDynamic(
    `${what} goes on to byte ${end}, expected to end within the ${hex(table.size)} of its segment`,
    length,
  );
}

/** The error of everything in this area. */
export const badDynamic = (why: string, value?: number | bigint): FormatError =>
  new FormatError('ELF_BAD_DYNAMIC', `ELF: ${why}`, value === undefined ? {} : { value });
