/**
 * What the dynamic loader sees: the entries of PT_DYNAMIC, and through them strings and symbols, without
 * any section header. gABI 4.1, "Dynamic Section"; DT_GNU_HASH as in glibc's elf/dl-lookup.c.
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
import { Elf64_Dyn, Elf64_Sym, LE } from './structs.ts';
import { decodeSymbols, type ElfSymbol } from './symbols.ts';

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
    throw bad(`${found}, expected at most ${hex(MAX_SIZE)}`, segment.fileSize);
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
  const strings = new StringTable(stringBytes(file, entries));
  return wanted.map(({ value }) => strings.at(toNumber('ELF: string offset of a dynamic entry', value)));
}

/**
 * The dynamic symbols, the null symbol first; none in a file without DT_SYMTAB. Nothing says how many
 * there are, so their number comes from the hash table.
 *
 * @throws FormatError `ELF_BAD_DYNAMIC`, `ELF_BAD_SYMBOLS`, `ELF_BAD_STRING`
 */
export function readDynamicSymbols(file: ElfFile): ElfSymbol[] {
  const entries = readDynamic(file);
  const symtab = tableAt(file, entries, DT.DT_SYMTAB);
  if (!symtab) return [];
  const size = countSymbols(file, entries) * Elf64_Sym.size;
  return decodeSymbols(bytesOf(symtab, 'DT_SYMTAB', 0, size), stringBytes(file, entries));
}

function countSymbols(file: ElfFile, entries: readonly ElfDynamic[]): number {
  const hash = tableAt(file, entries, DT.DT_HASH);
  // nbucket, nchain: one chain entry for each symbol.
  if (hash) return viewOf(bytesOf(hash, 'DT_HASH', 0, 8)).getUint32(4, LE);
  const gnuHash = tableAt(file, entries, DT.DT_GNU_HASH);
  if (gnuHash) return countByGnuHash(gnuHash);
  throw bad('DT_SYMTAB without DT_HASH and DT_GNU_HASH, expected one of them');
}

/**
 * nbuckets, symoffset, bloom_size, bloom_shift, bloom[bloom_size] of 64 bits, buckets[nbuckets], and a
 * chain of hashes for the symbols from symoffset on; the last one of a bucket has bit 0 set. So the
 * bucket that begins last leads to the last symbol.
 */
function countByGnuHash(table: ByteSource): number {
  const header = viewOf(bytesOf(table, 'DT_GNU_HASH', 0, 16));
  const nbuckets = header.getUint32(0, LE);
  const symoffset = header.getUint32(4, LE);
  const bucketsAt = 16 + 8 * header.getUint32(8, LE);
  const buckets = viewOf(bytesOf(table, 'DT_GNU_HASH', bucketsAt, 4 * nbuckets));
  let last = 0;
  for (let i = 0; i < nbuckets; i++) last = Math.max(last, buckets.getUint32(4 * i, LE));
  // All buckets empty: only the symbols that are not in the table, which are the undefined ones.
  if (last < symoffset) return symoffset;

  const BLOCK = 4096;
  for (let at = bucketsAt + 4 * nbuckets + 4 * (last - symoffset); ; at += BLOCK) {
    const block = viewOf(bytesOf(table, 'DT_GNU_HASH', at, Math.min(BLOCK, Math.max(4, table.size - at))));
    for (let i = 0; i + 4 <= block.byteLength; i += 4, last++) {
      if ((block.getUint32(i, LE) & 1) !== 0) return last + 1;
    }
  }
}

function stringBytes(file: ElfFile, entries: readonly ElfDynamic[]): Uint8Array {
  const table = tableAt(file, entries, DT.DT_STRTAB);
  const size = entries.find(({ tag }) => tag === DT.DT_STRSZ)?.value;
  if (!table || size === undefined) throw bad('names without DT_STRTAB or DT_STRSZ, expected both');
  return bytesOf(table, 'DT_STRTAB', 0, toNumber('ELF: DT_STRSZ', size));
}

/** From the address that an entry gives to the end of its segment; undefined without such an entry. */
function tableAt(file: ElfFile, entries: readonly ElfDynamic[], tag: number): ByteSource | undefined {
  const address = entries.find(entry => entry.tag === tag)?.value;
  if (address === undefined) return undefined;
  const table = atAddress(file, address);
  if (table) return table;
  throw bad(`${nameOf(DT, tag)} is ${hex(address)}, expected an address within a PT_LOAD`, address);
}

function bytesOf(table: ByteSource, what: string, offset: number, length: number): Uint8Array {
  if (offset <= table.size && length <= table.size - offset) return table.read(offset, length);
  const end = hex(offset + length);
  throw bad(
    `${what} goes on to byte ${end}, expected to end within the ${hex(table.size)} of its segment`,
    length,
  );
}

const bad = (why: string, value?: number | bigint): FormatError =>
  new FormatError('ELF_BAD_DYNAMIC', `ELF: ${why}`, value === undefined ? {} : { value });
