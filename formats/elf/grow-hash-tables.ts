/**
 * Hash tables of symbols to which imports are added: nothing is looked up in them that was not before, but they
 * say how many symbols there are, and at which indices. gABI 4.1, "Hash Table"; DT_GNU_HASH as told in
 * dynamic-symbols.ts.
 *
 * @module
 */
import { viewOf } from '../struct.ts';
import { badDynamic } from './dynamic.ts';
import { elfHash } from './hash.ts';
import { LE } from './structs.ts';

/** Symbols from index `at` on are `count` further than they were. */
export interface Insertion {
  readonly at: number;
  readonly count: number;
}

/** The index that a symbol has after an insertion. */
export const renumbered = (symbol: number, { at, count }: Insertion): number =>
  symbol >= at ? symbol + count : symbol;

/** Where undefined symbols can be inserted among `count` symbols: before the first that is hashed. */
export function insertionPoint(gnuHash: Uint8Array | undefined, count: number): number {
  if (gnuHash === undefined) return count;
  const { symoffset, buckets } = gnuParts(gnuHash);
  for (let at = 0; at < buckets.byteLength; at += 4) {
    if (buckets.getUint32(at, LE) === 0) continue;
    if (symoffset > 0 && symoffset <= count) return symoffset;
    throw badDynamic(`symoffset of DT_GNU_HASH is ${symoffset}, expected one of ${count} symbols`, symoffset);
  }
  return count;
}

/** A DT_GNU_HASH table after an insertion at its `insertionPoint`. */
export function growGnuHash(table: Uint8Array, inserted: Insertion): Uint8Array {
  const grown = table.slice();
  if (inserted.count === 0) return grown;
  const { buckets } = gnuParts(grown);
  for (let at = 0; at < buckets.byteLength; at += 4) {
    const first = buckets.getUint32(at, LE);
    if (first !== 0) buckets.setUint32(at, renumbered(first, inserted), LE);
  }
  viewOf(grown).setUint32(4, inserted.at + inserted.count, LE);
  return grown;
}

function gnuParts(table: Uint8Array): { symoffset: number; buckets: DataView } {
  const view = viewOf(table);
  const nbuckets = view.getUint32(0, LE);
  const bucketsAt = 16 + 8 * view.getUint32(8, LE);
  const buckets = viewOf(table.subarray(bucketsAt, bucketsAt + 4 * nbuckets));
  return { symoffset: view.getUint32(4, LE), buckets };
}

/** A DT_HASH table after an insertion of symbols with these names. */
export function growHash(table: Uint8Array, inserted: Insertion, names: readonly string[]): Uint8Array {
  const old = viewOf(table);
  const nbucket = old.getUint32(0, LE);
  const nchain = old.getUint32(4, LE);
  const grown = new Uint8Array(table.length + 4 * inserted.count);
  const view = viewOf(grown);
  view.setUint32(0, nbucket, LE);
  view.setUint32(4, nchain + inserted.count, LE);
  const bucketAt = (bucket: number): number => 8 + 4 * bucket;
  const chainAt = (symbol: number): number => 8 + 4 * (nbucket + symbol);
  for (let bucket = 0; bucket < nbucket; bucket++) {
    view.setUint32(bucketAt(bucket), renumbered(old.getUint32(bucketAt(bucket), LE), inserted), LE);
  }
  for (let symbol = 0; symbol < nchain; symbol++) {
    const next = renumbered(old.getUint32(chainAt(symbol), LE), inserted);
    view.setUint32(chainAt(renumbered(symbol, inserted)), next, LE);
  }
  if (nbucket === 0) return grown;
  // In front of the others of a bucket: an undefined symbol is passed over, wherever it stands.
  for (const [i, name] of names.entries()) {
    const bucket = bucketAt(elfHash(name) % nbucket);
    view.setUint32(chainAt(inserted.at + i), view.getUint32(bucket, LE), LE);
    view.setUint32(bucket, inserted.at + i, LE);
  }
  return grown;
}
