/**
 * Rules about the hash tables by which ld.so finds a symbol: a table that is wrong hides symbols, and one of no
 * buckets or with a chain that never ends stops the process. gABI 4.1, "Hash Table"; glibc 2.36,
 * elf/dl-lookup.c, do_lookup_x(), and elf/dl-setup_hash.c.
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { DT } from '../constants.ts';
import { bytesOf, readDynamic, tableAt } from '../dynamic.ts';
import { readDynamicSymbols } from '../dynamic-symbols.ts';
import { elfHash, gnuHash } from '../hash.ts';
import type { ElfFile } from '../model.ts';
import { LE } from '../structs.ts';
import { error, type Rule } from './rule.ts';

/** nbucket, nchain, bucket[nbucket], chain[nchain]; a chain ends with 0 (STN_UNDEF). */
function* sysvHash(file: ElfFile): Iterable<Finding> {
  const table = tableAt(file, readDynamic(file), DT.DT_HASH);
  if (table === undefined) return;
  const symbols = readDynamicSymbols(file);
  const header = viewOf(bytesOf(table, 'DT_HASH', 0, 8));
  const nbucket = header.getUint32(0, LE);
  const nchain = header.getUint32(4, LE);
  if (nbucket === 0) {
    // do_lookup_x() of glibc does not look at a table without buckets.
    if (symbols.length > 1) yield error('ELF_HASH', 'nbucket of DT_HASH is 0, expected a bucket at least');
    return;
  }
  const words = viewOf(bytesOf(table, 'DT_HASH', 8, 4 * (nbucket + nchain)));
  const seen = new Uint8Array(nchain);
  for (let bucket = 0; bucket < nbucket; bucket++) {
    for (let symbol = words.getUint32(4 * bucket, LE); symbol !== 0; ) {
      if (symbol >= nchain || seen[symbol] === 1) {
        const found = symbol >= nchain ? `beyond nchain ${nchain}` : 'for the second time';
        yield error(
          'ELF_HASH',
          `bucket ${bucket} of DT_HASH leads to symbol ${symbol} ${found}, expected each symbol once`,
        );
        return;
      }
      seen[symbol] = 1;
      const name = symbols[symbol]?.name ?? '';
      if (elfHash(name) % nbucket !== bucket) {
        yield error(
          'ELF_HASH',
          `symbol ${symbol} (${JSON.stringify(name)}) is in bucket ${bucket} of DT_HASH, expected ${elfHash(name) % nbucket}`,
        );
      }
      symbol = words.getUint32(4 * (nbucket + symbol), LE);
    }
  }
}

/** The layout is told in dynamic-symbols.ts. */
function* gnuHashTable(file: ElfFile): Iterable<Finding> {
  const table = tableAt(file, readDynamic(file), DT.DT_GNU_HASH);
  if (table === undefined) return;
  const header = viewOf(bytesOf(table, 'DT_GNU_HASH', 0, 16));
  const nbuckets = header.getUint32(0, LE);
  const symoffset = header.getUint32(4, LE);
  const bloomSize = header.getUint32(8, LE);
  const shift = header.getUint32(12, LE);
  if (nbuckets === 0) {
    // A division by zero in do_lookup_x(), unless the Bloom filter refuses everything first.
    yield error('ELF_GNU_HASH', 'nbuckets of DT_GNU_HASH is 0, expected a bucket at least');
    return;
  }
  // dl-setup_hash.c: assert (powerof2 (bitmask_nwords)).
  if (bloomSize === 0 || (bloomSize & (bloomSize - 1)) !== 0) {
    yield error(
      'ELF_GNU_HASH',
      `the Bloom filter of DT_GNU_HASH has ${bloomSize} words, expected a power of two`,
    );
    return;
  }
  const symbols = readDynamicSymbols(file);
  const bloom = viewOf(bytesOf(table, 'DT_GNU_HASH', 16, 8 * bloomSize));
  const bucketsAt = 16 + 8 * bloomSize;
  const buckets = viewOf(bytesOf(table, 'DT_GNU_HASH', bucketsAt, 4 * nbuckets));
  const count = Math.max(0, symbols.length - symoffset);
  const chain = viewOf(bytesOf(table, 'DT_GNU_HASH', bucketsAt + 4 * nbuckets, 4 * count));
  for (let bucket = 0; bucket < nbuckets; bucket++) {
    const first = buckets.getUint32(4 * bucket, LE);
    if (first === 0) continue;
    if (first < symoffset) {
      yield error(
        'ELF_GNU_HASH',
        `bucket ${bucket} of DT_GNU_HASH begins with symbol ${first}, expected ${symoffset} or more`,
      );
      return;
    }
    for (let symbol = first; symbol < symbols.length; symbol++) {
      const stored = chain.getUint32(4 * (symbol - symoffset), LE);
      const name = symbols[symbol]?.name ?? '';
      const hash = gnuHash(name);
      const fault = symbolFault(hash, stored, bucket, nbuckets, bloom, shift);
      if (fault !== undefined) {
        yield error('ELF_GNU_HASH', `symbol ${symbol} (${JSON.stringify(name)}) of DT_GNU_HASH ${fault}`);
        return;
      }
      if ((stored & 1) === 1) break;
    }
  }
}

/** Why a lookup of this symbol would fail. */
function symbolFault(
  hash: number,
  stored: number,
  bucket: number,
  nbuckets: number,
  bloom: DataView,
  shift: number,
): string | undefined {
  if ((hash | 1) >>> 0 !== (stored | 1) >>> 0)
    return `has hash ${hex(stored)}, expected ${hex(hash)} but for bit 0`;
  if (hash % nbuckets !== bucket) return `is in bucket ${bucket}, expected ${hash % nbuckets}`;
  const words = bloom.byteLength / 8;
  const at = Math.floor(hash / 64) % words;
  // bitmask_word of dl-lookup.c, read as two halves.
  const isSet = (bit: number): boolean => {
    const half = bloom.getUint32(8 * at + (bit >= 32 ? 4 : 0), LE);
    return ((half >>> (bit % 32)) & 1) === 1;
  };
  if (isSet(hash % 64) && isSet((hash >>> shift) % 64)) return undefined;
  return 'is refused by the Bloom filter, expected both of its bits set';
}

export const HASH_RULES: readonly Rule[] = [sysvHash, gnuHashTable];
