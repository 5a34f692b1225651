/**
 * A look into the process at words that pointers lead to, with a limit. Allocator structures are full
 * of pointers, any of which may be wrong: a word is read only where a private mapping is readable
 * (a device mapping could answer a read with an action), and no walk, however long, costs more than
 * `PAGES_READ` pages.
 *
 * @module
 */
import { PAGE, PAGE_BIG } from '../image.ts';
import type { ZoneView } from '../zones.ts';
import { regionAt } from './regions.ts';

/** Pages read for one process, 256 MiB: about half a second. A walk that needs more learns nothing. */
const PAGES_READ = 65_536;

/** Pages kept, 64 MiB: free lists jump about, and come back to the same pages. */
const PAGES_KEPT = 16_384;

export interface BoundedReader {
  /** The 64-bit word at a multiple of 8; undefined where nothing can be read or the limit is reached. */
  word(address: bigint): bigint | undefined;
  /** A copy of `size` bytes; undefined where any of them cannot be read. */
  bytes(address: bigint, size: number): DataView | undefined;
}

export function boundedReader(view: Pick<ZoneView, 'regions' | 'memory'>): BoundedReader {
  const kept = new Map<number, DataView>();
  let left = PAGES_READ;
  let lastNumber = -1;
  let lastPage: DataView | undefined;

  const load = (number: number): DataView | undefined => {
    const address = BigInt(number) * PAGE_BIG;
    const region = regionAt(view.regions, address);
    if (region === undefined || !region.read || region.shared || left === 0) return undefined;
    left--;
    const bytes = new Uint8Array(PAGE);
    view.memory.read(address, bytes);
    return new DataView(bytes.buffer);
  };

  const page = (number: number): DataView | undefined => {
    if (number === lastNumber) return lastPage;
    let found = kept.get(number);
    if (found === undefined) {
      found = load(number);
      if (found === undefined) return undefined;
      if (kept.size >= PAGES_KEPT) for (const oldest of kept.keys()) if (kept.delete(oldest)) break;
      kept.set(number, found);
    }
    lastNumber = number;
    lastPage = found;
    return found;
  };

  const word = (address: bigint): bigint | undefined =>
    (address & 7n) === 0n
      ? page(Number(address >> 12n))?.getBigUint64(Number(address & 0xfffn), true)
      : undefined;

  const bytes = (address: bigint, size: number): DataView | undefined => {
    const out = new Uint8Array(size);
    for (let at = 0; at < size; ) {
      const from = Number((address + BigInt(at)) & 0xfffn);
      const found = page(Number((address + BigInt(at)) >> 12n));
      if (found === undefined) return undefined;
      const count = Math.min(size - at, PAGE - from);
      out.set(new Uint8Array(found.buffer, from, count), at);
      at += count;
    }
    return new DataView(out.buffer);
  };

  return { word, bytes };
}
