/**
 * The dynamic symbols as the loader finds them, without section headers. gABI 4.1, "Hash Table";
 * DT_GNU_HASH as in glibc 2.36, elf/dl-lookup.c.
 *
 * @module
 */
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { DT } from './constants.ts';
import { badDynamic, bytesOf, dynamicStringTable, type ElfDynamic, readDynamic, tableAt } from './dynamic.ts';
import type { ElfFile } from './model.ts';
import { Elf64_Sym, LE } from './structs.ts';
import { decodeSymbols, type ElfSymbol } from './symbols.ts';

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
  return decodeSymbols(bytesOf(symtab, 'DT_SYMTAB', 0, size), dynamicStringTable(file, entries));
}

function countSymbols(file: ElfFile, entries: readonly ElfDynamic[]): number {
  const hash = tableAt(file, entries, DT.DT_HASH);
  // nbucket, nchain: one chain entry for each symbol.
  if (hash) return viewOf(bytesOf(hash, 'DT_HASH', 0, 8)).getUint32(4, LE);
  const gnuHash = tableAt(file, entries, DT.DT_GNU_HASH);
  if (gnuHash) return countByGnuHash(gnuHash) ?? countUpToNextTable(entries);
  throw badDynamic('DT_SYMTAB without DT_HASH and DT_GNU_HASH, expected one of them');
}

/**
 * nbuckets, symoffset, bloom_size, bloom_shift, bloom[bloom_size] of 64 bits, buckets[nbuckets], and a
 * chain of hashes for the symbols from symoffset on; the last one of a bucket has bit 0 set. So the
 * bucket that begins last leads to the last symbol. Undefined where all are empty: the linker then does
 * not say how many symbols come before those of the table.
 */
function countByGnuHash(table: ByteSource): number | undefined {
  const header = viewOf(bytesOf(table, 'DT_GNU_HASH', 0, 16));
  const nbuckets = header.getUint32(0, LE);
  const symoffset = header.getUint32(4, LE);
  const bucketsAt = 16 + 8 * header.getUint32(8, LE);
  const buckets = viewOf(bytesOf(table, 'DT_GNU_HASH', bucketsAt, 4 * nbuckets));
  let last = 0;
  for (let i = 0; i < nbuckets; i++) last = Math.max(last, buckets.getUint32(4 * i, LE));
  if (last < symoffset) return undefined;

  const BLOCK = 4096;
  for (let at = bucketsAt + 4 * nbuckets + 4 * (last - symoffset); ; at += BLOCK) {
    const block = viewOf(bytesOf(table, 'DT_GNU_HASH', at, Math.min(BLOCK, Math.max(4, table.size - at))));
    for (let i = 0; i + 4 <= block.byteLength; i += 4, last++) {
      if ((block.getUint32(i, LE) & 1) !== 0) return last + 1;
    }
  }
}

/** Tables that a linker may put after the symbols. */
const TABLES: ReadonlySet<number> = new Set([
  DT.DT_STRTAB,
  DT.DT_GNU_HASH,
  DT.DT_VERSYM,
  DT.DT_VERDEF,
  DT.DT_VERNEED,
  DT.DT_RELA,
  DT.DT_REL,
  DT.DT_RELR,
  DT.DT_JMPREL,
]);

/** A file that exports nothing: its symbols end where the next table begins, DT_STRTAB as a rule. */
function countUpToNextTable(entries: readonly ElfDynamic[]): number {
  const symtab = entries.find(({ tag }) => tag === DT.DT_SYMTAB)?.value ?? 0n;
  let end: bigint | undefined;
  for (const { tag, value } of entries) {
    if (TABLES.has(tag) && value > symtab && (end === undefined || value < end)) end = value;
  }
  return end === undefined ? 0 : Math.floor(Number(end - symtab) / Elf64_Sym.size);
}
