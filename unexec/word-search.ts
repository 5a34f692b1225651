/**
 * Searches a process for words that hold a given value: copies of one particular pointer, or of one
 * thread's id within a lock. Only memory where programs keep such things is searched (data of modules,
 * stacks, the start of each other writable region), so a heap of gigabytes costs no more than a small one.
 *
 * @module
 */
import { type MemoryReader, type Module, PAGE, type Region } from './image.ts';
import { isMemoryFile } from './linux/regions.ts';

/** Bytes of a region that are searched: what a program allocates early, its state, is at the start. */
const LIMIT = 16 << 20;
const CHUNK = 1 << 20;
/** Chunks overlap by this much, so that what is looked for lies whole in one of them. */
const OVERLAP = 64;

export interface SearchView {
  readonly regions: readonly Region[];
  readonly memory: MemoryReader;
}

/** Addresses of aligned 64-bit words with this value. */
export function findWords(view: SearchView, value: bigint): bigint[] {
  const low = Number(BigInt.asIntN(32, value));
  const high = Number(BigInt.asIntN(32, value >> 32n));
  const found = new Set<bigint>();
  scan(view, (words, address) => {
    for (let i = words.indexOf(low); i >= 0; i = words.indexOf(low, i + 1)) {
      if (i % 2 === 0 && words[i + 1] === high) found.add(address + BigInt(i * 4));
    }
  });
  return [...found];
}

/**
 * The words of locked glibc locks that remember their owner, by the owner's tid: `__owner` of
 * recursive and error-checking ones, which compare it with the caller's, and `__lock` too of robust and
 * priority-inheriting ones, whose lock is the owner's tid. The fields around it must fit
 * (`struct __pthread_mutex_s`: __lock, __count, __owner, __nusers, __kind, __spins, __elision, __list;
 * nptl, glibc 2.4 to 2.41).
 * And `__cur_writer` of read-write locks, by which unlocking tells a writer from a reader; setlocale(3)
 * holds one (`struct __pthread_rwlock_arch_t`, glibc 2.25 on).
 *
 * A number that only looks like a lock's owner would be overwritten, so all fields of the struct are
 * held against it; and a small tid, of a container for example, is believed only in the data of modules,
 * where ld.so, libc and most programs have their locks: heaps are full of small numbers.
 */
export function findOwnedLocks(view: SearchView, tids: readonly number[]): Map<number, bigint[]> {
  const found = new Map<number, Set<bigint>>(tids.map(tid => [tid, new Set()]));
  scan(view, (words, address, region) => {
    placesOf(words, found, (tid, i) => {
      if (tid < LEAST_DISTINCT_TID && region.kind !== 'module-data') return;
      const addresses = found.get(tid);
      if (isWriter(words, i)) addresses?.add(address + BigInt(i * 4));
      if (!isOwner(words, i)) return;
      addresses?.add(address + BigInt(i * 4));
      if (locksByTid(words[i + 2] ?? 0)) addresses?.add(address + BigInt((i - 2) * 4));
    });
  });
  return new Map([...found].map(([tid, addresses]) => [tid, [...addresses]]));
}

/** So many values are sought one after the other, by indexOf, in the time of one look at every word. */
const FEW = 8;

/** Calls with each word that has one of these values, and its index. */
function placesOf(
  words: Int32Array,
  values: ReadonlyMap<number, unknown>,
  found: (value: number, index: number) => void,
): void {
  if (values.size <= FEW) {
    for (const value of values.keys()) {
      for (let i = words.indexOf(value); i >= 0; i = words.indexOf(value, i + 1)) found(value, i);
    }
    return;
  }
  let least = Number.POSITIVE_INFINITY;
  let greatest = Number.NEGATIVE_INFINITY;
  for (const value of values.keys()) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  for (let i = 0; i < words.length; i++) {
    const value = words[i] ?? 0;
    if (value >= least && value <= greatest && values.has(value)) found(value, i);
  }
}

const LEAST_DISTINCT_TID = 2048;
const FUTEX_TID_MASK = 0x3fff_ffff;
const ROBUST_OR_INHERITING = 16 | 32;
/** Two bits of type, robust, protocol, shared, elision. */
const KIND_BITS = 0x3ff;

const locksByTid = (kind: number): boolean => (kind & ROBUST_OR_INHERITING) !== 0;

/** The words of a struct __pthread_mutex_s are those of a robust or priority-inheriting mutex. */
export function isMutexOfTid(words: Int32Array): boolean {
  const [lock = 0, , owner = 0, , kind = 0] = words;
  return (lock & FUTEX_TID_MASK) === owner && locksByTid(kind) && (kind & ~KIND_BITS) === 0;
}

function isOwner(words: Int32Array, i: number): boolean {
  if (i < 2 || i % 2 !== 0) return false;
  const [lock = 0, count = 0, owner = 0, users = 0, kind = 0, spins = 0] = words.subarray(i - 2, i + 4);
  if (users !== 1 || (kind & ~KIND_BITS) !== 0 || spins !== 0) return false;
  if (locksByTid(kind)) return (lock & FUTEX_TID_MASK) === owner && count >= 1;
  const type = kind & 3;
  const remembers = (type === 1 && count >= 1) || (type === 2 && count === 0);
  return remembers && (lock === 1 || lock === 2) && isZero(words.subarray(i + 4, i + 8));
}

/**
 * __readers (a writer has it, in a phase of writing), __writers, __wrphase_futex, __writers_futex (1, and 2
 * where somebody waits), two words of padding, __cur_writer, __shared, 16 bytes of elision and padding,
 * __flags (the kind: 0 to 2).
 */
function isWriter(words: Int32Array, i: number): boolean {
  if (i < 6 || i % 2 !== 0) return false;
  const [readers = 0, , phase = 0, writers = 0] = words.subarray(i - 6, i);
  const [shared = 0, , , , , kind = 0] = words.subarray(i + 1, i + 7);
  const held = (readers & RWLOCK_WRITER) === RWLOCK_WRITER && isFutex(phase) && isFutex(writers);
  const padded = isZero(words.subarray(i - 2, i)) && isZero(words.subarray(i + 2, i + 6));
  return held && padded && (shared === 0 || shared === 1) && kind >= 0 && kind <= 2;
}

/** PTHREAD_RWLOCK_WRPHASE | PTHREAD_RWLOCK_WRLOCKED (nptl/pthread_rwlock_common.c). */
const RWLOCK_WRITER = 3;
const isFutex = (word: number): boolean => word === 1 || word === 3;
const isZero = (words: Int32Array): boolean => words.every(word => word === 0);

/**
 * The words in which glibc keeps the id of the thread that calls functions for timers (`__timer_helper_tid`,
 * sysdeps/unix/sysv/linux/timer_routines.c): in the data of libc, or of the program where that is static. A
 * small id, which may be any number, must stand before a pthread_once_t that is done, as it does in 2.34 to 2.41.
 */
export function timerHelperWords(
  view: SearchView & { readonly modules: readonly Module[] },
  tid: number,
): bigint[] {
  const libc = view.modules.find(({ path }) => /\/libc(\.so\.6|-2\.\d+\.so)$/.test(path)) ?? view.modules[0];
  if (libc === undefined) return [];
  const regions = view.regions.filter(({ start }) => libc.start <= start && start < libc.end);
  const found = new Set<bigint>();
  scan({ regions, memory: view.memory }, (words, address) => {
    for (let i = words.indexOf(tid); i >= 0; i = words.indexOf(tid, i + 1)) {
      if (tid >= LEAST_DISTINCT_TID || words[i + 1] === ONCE_DONE) found.add(address + BigInt(i * 4));
    }
  });
  return [...found];
}

/** __PTHREAD_ONCE_DONE. */
const ONCE_DONE = 2;

/**
 * Calls with overlapping chunks of writable memory as 32-bit words, each with its address: private memory, and
 * shared memory that the image holds.
 */
function scan(
  { regions, memory }: SearchView,
  look: (words: Int32Array, address: bigint, region: Region) => void,
): void {
  const buffer = new Uint8Array(CHUNK);
  for (const region of regions) {
    if (!region.write || !region.read || (region.shared && !isMemoryFile(region))) continue;
    let left = LIMIT;
    for (const { first, count } of memory.touched(region)) {
      const size = Math.min(count * PAGE, left);
      for (let at = 0; at < size; at += CHUNK - OVERLAP) {
        const length = Math.min(CHUNK, size - at);
        const address = region.start + BigInt(first * PAGE + at);
        memory.read(address, buffer.subarray(0, length));
        look(new Int32Array(buffer.buffer, 0, length / 4), address, region);
      }
      left -= size;
    }
  }
}
