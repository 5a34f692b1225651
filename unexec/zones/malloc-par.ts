/**
 * glibc's own count of the chunks that it took with mmap: `struct malloc_par mp_`, whose address is
 * stripped as that of the main arena is. Both are data of malloc.o, so it lies close by.
 *
 * Facts from glibc's malloc/malloc.c, 64-bit, compared in 2.31, 2.36, 2.41 and 2.43: what comes before
 * `n_mmaps` has changed twice, what follows only by padding.
 *
 * @module
 */
import { array, i32, struct, u64, type Value } from '../../formats/struct.ts';
import { PAGE_BIG } from '../image.ts';
import type { ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import type { Arena } from './glibc-malloc.ts';
import { isAnonymous, regionAt } from './regions.ts';

/** `n_mmaps` to `sbrk_base`; the padding is there since 2.35, when `hp_flags` came before. */
const malloc_par_tail = (padding: 0 | 1) =>
  struct({
    n_mmaps: i32,
    n_mmaps_max: i32,
    max_n_mmaps: i32,
    no_dyn_threshold: i32,
    padding: array(i32, padding),
    mmapped_mem: u64,
    max_mmapped_mem: u64,
    sbrk_base: u64,
  });
const TAILS = [malloc_par_tail(0), malloc_par_tail(1)];
type Tail = Value<ReturnType<typeof malloc_par_tail>>;

/** How far from the main arena it is sought; 0x900 to 0x940 bytes are between them in the versions compared. */
const REACH = 0x2000n;

export interface MmapCount {
  readonly chunks: number;
  readonly bytes: bigint;
}

/** How many chunks are mmapped and their bytes together; undefined when a mp_ is not found for certain. */
export function mmapCount(
  view: ZoneView,
  reader: BoundedReader,
  libcs: readonly { readonly main: Arena }[],
): MmapCount | undefined {
  const sum = { chunks: 0, bytes: 0n };
  for (const { main } of libcs) {
    const [mp, ...others] = candidates(view, reader, main);
    if (mp === undefined || others.length > 0) return undefined;
    sum.chunks += mp.n_mmaps;
    sum.bytes += mp.mmapped_mem;
  }
  return sum;
}

function candidates(view: ZoneView, reader: BoundedReader, main: Arena): Tail[] {
  const found: Tail[] = [];
  for (let at = main.address - REACH; at < main.address + REACH; at += 8n) {
    const sbrk_base = reader.word(at);
    if (sbrk_base === undefined) continue;
    if (main.state.system_mem === 0n ? sbrk_base !== 0n : !isHeap(view, sbrk_base)) continue;
    for (const layout of TAILS) {
      const bytes = reader.bytes(at - BigInt(layout.offsets.sbrk_base), layout.size);
      const tail = bytes && layout.read(bytes, 0, true);
      if (tail !== undefined && isPlausible(tail)) found.push(tail);
    }
  }
  return found;
}

/** `sbrk_base` is where the main arena's memory begins, 0 as long as it has none. */
function isHeap(view: ZoneView, address: bigint): boolean {
  const region = regionAt(view.regions, address);
  return region?.write === true && (region.name === '[heap]' || isAnonymous(region));
}

function isPlausible(mp: Tail): boolean {
  const { n_mmaps, max_n_mmaps, mmapped_mem, max_mmapped_mem } = mp;
  // Zeros alone prove nothing.
  if (n_mmaps === 0 && (mmapped_mem !== 0n || mp.sbrk_base === 0n)) return false;
  if (max_n_mmaps === 0 && max_mmapped_mem !== 0n) return false;
  return (
    n_mmaps >= 0 &&
    n_mmaps <= max_n_mmaps &&
    mp.n_mmaps_max > 0 &&
    (mp.no_dyn_threshold === 0 || mp.no_dyn_threshold === 1) &&
    mmapped_mem % PAGE_BIG === 0n &&
    mmapped_mem >= BigInt(n_mmaps) * PAGE_BIG &&
    mmapped_mem <= max_mmapped_mem &&
    max_mmapped_mem % PAGE_BIG === 0n &&
    max_mmapped_mem >= BigInt(max_n_mmaps) * PAGE_BIG
  );
}
