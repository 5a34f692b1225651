/**
 * Stacks of threads other than the main one. glibc allocates stack, guard page, static TLS and
 * `struct pthread` as one mapping, and keeps its bounds in the latter.
 *
 * Not found: stacks of ended threads that glibc keeps for the next ones (their list is in ld.so's
 * private data), and stacks that lie in memory of another zone, which they belong to.
 *
 * Facts from glibc's nptl/allocatestack.c and nptl/descr.h: `stackblock`, `stackblock_size`,
 * `guardsize`, `reported_guardsize` follow each other in `struct pthread` (at 0x690 on x86-64 from
 * 2.31 to 2.43, elsewhere on other architectures; so they are sought).
 *
 * @module
 */
import { endOf, PAGE, PAGE_BIG, type Region } from '../image.ts';
import type { MallocZone, ZoneThread, ZoneView } from '../zones.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { isAnonymous, isOwnMemory, type Range, regionAt } from './regions.ts';

/**
 * sizeof(struct pthread) is 2304 to 2368 on x86-64, where it begins at the thread pointer, and less on aarch64, where
 * it ends there.
 */
const PTHREAD_SIZE = 2304n;

/** Above the thread pointer is `struct pthread`, or thread-local storage; then only alignment. */
const MAX_ABOVE = 0x1_0000n;

export function threadStackZone(
  view: ZoneView,
  reader: BoundedReader,
  thread: ZoneThread,
): MallocZone | undefined {
  const { stackPointer, threadPointer } = thread;
  const region = regionAt(view.regions, threadPointer);
  if (region === undefined || !isOwnMemory(region)) return undefined;

  const block =
    stackBlock(reader, region, threadPointer, threadPointer) ??
    stackBlock(reader, region, threadPointer, threadPointer - PTHREAD_SIZE) ??
    wholeMapping(view, region, stackPointer);
  if (block === undefined) return undefined;
  const size = Number(block.end - block.start);
  return {
    kind: 'thread-stack',
    base: block.start,
    size,
    // Elsewhere while a handler runs on an alternate stack: then nothing tells how deep this one is.
    used:
      stackPointer >= block.start && stackPointer < block.end ? Number(block.end - stackPointer) : undefined,
    highWater: size,
    pageSize: PAGE,
    isDefault: false,
  };
}

/** What `struct pthread` says, guard included; it is sought from an address on. */
function stackBlock(
  reader: BoundedReader,
  region: Region,
  threadPointer: bigint,
  from: bigint,
): Range | undefined {
  for (let at = from < region.start ? region.start : from; at < from + PTHREAD_SIZE; at += 8n) {
    const stackblock = reader.word(at);
    const stackblock_size = reader.word(at + 8n);
    const guardsize = reader.word(at + 16n);
    const reported_guardsize = reader.word(at + 24n);
    if (reported_guardsize === undefined || guardsize === undefined) return undefined;
    if (stackblock_size === undefined || stackblock === undefined) return undefined;
    const end = stackblock + stackblock_size;
    if (
      stackblock % PAGE_BIG === 0n &&
      stackblock_size % PAGE_BIG === 0n &&
      guardsize % PAGE_BIG === 0n &&
      reported_guardsize <= guardsize &&
      stackblock + guardsize >= region.start &&
      stackblock + guardsize < threadPointer &&
      end > threadPointer &&
      end <= threadPointer + MAX_ABOVE &&
      end <= endOf(region)
    ) {
      return { start: stackblock, end };
    }
  }
  return undefined;
}

/** Another libc (musl): the mapping that holds stack pointer and TCB, and the guard page before it. */
function wholeMapping(view: ZoneView, region: Region, stackPointer: bigint): Range | undefined {
  if (stackPointer < region.start || stackPointer >= endOf(region)) return undefined;
  const guard = regionAt(view.regions, region.start - 1n);
  const guarded = guard !== undefined && isAnonymous(guard) && !guard.read && !guard.write;
  return { start: guarded ? guard.start : region.start, end: endOf(region) };
}
