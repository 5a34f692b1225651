import test from 'ava';
import fc from 'fast-check';
import { PAGE, type Region } from '../../unexec/image.ts';
import { findOwnedLocks, findWords, type SearchView } from '../../unexec/word-search.ts';
import { pagesMemory } from '../support/synthetic-image.ts';
import { regionOf } from '../support/synthetic-view.ts';

const BASE = 0x5555_0000_0000n;
/** Bytes that are searched at once. */
const CHUNK = 1 << 20;
/** Bytes of a region that are searched at all. */
const LIMIT = 16 << 20;

/** Regions, every page of which was touched, with 32-bit words at these addresses. */
function viewOf32(
  regions: readonly Region[],
  words: Iterable<readonly [address: bigint, word: number]>,
  onRead?: (page: bigint) => void,
): SearchView {
  const pages = new Map<bigint, Uint8Array>();
  for (const region of regions) {
    for (let at = 0; at < region.size; at += PAGE) pages.set(region.start + BigInt(at), EMPTY);
  }
  for (const [address, word] of words) {
    const start = address - (address % BigInt(PAGE));
    const known = pages.get(start);
    const page = known === undefined || known === EMPTY ? new Uint8Array(PAGE) : known;
    pages.set(start, page);
    new DataView(page.buffer).setUint32(Number(address - start), word, true);
  }
  return { regions, memory: pagesMemory(pages, onRead) };
}

const EMPTY = new Uint8Array(PAGE);

const word64 = (address: bigint, value: bigint): [bigint, number][] => [
  [address, Number(BigInt.asUintN(32, value))],
  [address + 4n, Number(value >> 32n)],
];

// findWords

const POINTER = 0x7ffd_9876_5430n;

for (const [what, at] of [
  ['at the start', 0],
  ['at the end of a chunk', CHUNK - 8],
  ['at the start of the next chunk', CHUNK],
  ['as the last that is searched', LIMIT - 8],
] as const) {
  test(`findWords() finds a word ${what}`, t => {
    const address = BASE + BigInt(at);
    const view = viewOf32([regionOf(BASE, LIMIT / PAGE + 2)], word64(address, POINTER));
    t.deepEqual(findWords(view, POINTER), [address]);
  });
}

test('findWords() ends its search after 16 MiB of a region, and searches the next one', t => {
  const far = BASE + BigInt(LIMIT);
  const other = regionOf(BASE + 0x1000_0000n, 2);
  const regions = [regionOf(BASE, LIMIT / PAGE + 2), other];
  const view = viewOf32(regions, [...word64(far, POINTER), ...word64(other.start + 16n, POINTER)]);
  t.deepEqual(findWords(view, POINTER), [other.start + 16n]);
});

test('findWords() does not take half a word, words out of line, or halves in the wrong order', t => {
  const view = viewOf32(
    [regionOf(BASE, 1)],
    [
      ...word64(BASE + 8n, POINTER + (1n << 32n)),
      ...word64(BASE + 16n, POINTER + 8n),
      ...word64(BASE + 36n, POINTER),
      [BASE + 64n, Number(POINTER >> 32n)],
      [BASE + 68n, Number(BigInt.asUintN(32, POINTER))],
    ],
  );
  t.deepEqual(findWords(view, POINTER), []);
});

test('findWords() searches neither shared nor read-only nor unreadable memory', t => {
  for (const facts of [{ shared: true }, { write: false }, { read: false }]) {
    const region = regionOf(BASE, 1, facts);
    const view = viewOf32([region], word64(BASE + 8n, POINTER), () => t.fail('it has read'));
    t.deepEqual(findWords(view, POINTER), []);
  }
});

test('findWords() does not read pages that were never touched', t => {
  const region = regionOf(BASE, 100);
  const pages = new Map([[BASE + BigInt(50 * PAGE), new Uint8Array(PAGE)]]);
  const read: bigint[] = [];
  findWords({ regions: [region], memory: pagesMemory(pages, page => read.push(page)) }, POINTER);
  t.deepEqual(read, [BASE + BigInt(50 * PAGE)]);
});

test('findWords() finds all the words with a value, whatever its bits are', t => {
  const value = fc.oneof(
    fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    fc.constantFrom(0xffff_ffffn, 1n << 32n),
  );
  fc.assert(
    fc.property(value, fc.uniqueArray(fc.nat({ max: 1023 }), { maxLength: 20 }), (wanted, places) => {
      const addresses = places.sort((a, b) => a - b).map(place => BASE + BigInt(place * 8));
      const words = addresses.flatMap(address => word64(address, wanted));
      t.deepEqual(findWords(viewOf32([regionOf(BASE, 2)], words), wanted), addresses);
    }),
  );
});

// findOwnedLocks

const TID = 4711;

/** struct __pthread_mutex_s: __lock, __count, __owner, __nusers, __kind. */
const mutex = (at: bigint, fields: readonly number[]): [bigint, number][] =>
  fields.map((field, i) => [at + BigInt(i * 4), field]);

const RECURSIVE = 1;
const ERRORCHECK = 2;
const mutexes: readonly [what: string, fields: readonly number[], found: boolean][] = [
  ['a recursive one', [1, 1, TID, 1, RECURSIVE], true],
  ['a recursive one that was locked three times', [1, 3, TID, 1, RECURSIVE], true],
  ['a recursive one that others wait for', [2, 1, TID, 1, RECURSIVE], true],
  ['an error-checking one', [1, 0, TID, 1, ERRORCHECK], true],
  ['one that is shared between processes', [1, 1, TID, 1, RECURSIVE | 0x80], true],
  ['one with elision flags', [1, 1, TID, 1, RECURSIVE | 0x100], true],
  ['a plain one, which does not compare its owner', [1, 0, TID, 1, 0], false],
  ['an adaptive one', [1, 0, TID, 1, 3], false],
  ['one that is not locked', [0, 1, TID, 1, RECURSIVE], false],
  ['one with an impossible lock', [3, 1, TID, 1, RECURSIVE], false],
  ['a recursive one that was never counted', [1, 0, TID, 1, RECURSIVE], false],
  ['an error-checking one with a count', [1, 1, TID, 1, ERRORCHECK], false],
  ['one without users', [1, 1, TID, 0, RECURSIVE], false],
  ['one with two users', [1, 1, TID, 2, RECURSIVE], false],
  ['one of an unknown kind', [1, 1, TID, 1, RECURSIVE | 0x400], false],
  ['one of another thread', [1, 1, TID + 1, 1, RECURSIVE], false],
  ['what has a number in the place of __spins', [1, 1, TID, 1, RECURSIVE, 1], false],
  ['what has a number in the place of __list', [1, 1, TID, 1, RECURSIVE, 0, 0, 1], false],
  // Found by torture: size, digit and padding of one object, and references and type of the next.
  ['an int object of Python', [1, 0, TID, 1, 2, 0, 0x958cc0, 0, 1, 0], false],
];

for (const [what, fields, found] of mutexes) {
  test(`findOwnedLocks() ${found ? 'finds' : 'does not take'} ${what}`, t => {
    const view = viewOf32([regionOf(BASE, 1)], mutex(BASE + 40n, fields));
    t.deepEqual([...findOwnedLocks(view, [TID])], [[TID, found ? [BASE + 48n] : []]]);
  });
}

const ROBUST = 16;
const INHERIT = 32;
const WAITERS = 0x8000_0000;

for (const [what, fields] of [
  ['a robust one', [TID, 1, TID, 1, ROBUST]],
  ['a robust one that others wait for', [TID | WAITERS, 1, TID, 1, ROBUST]],
  ['one with priority inheritance', [TID, 1, TID, 1, INHERIT]],
  ['a recursive one with both', [TID, 4, TID, 1, ROBUST | INHERIT | RECURSIVE]],
] as const) {
  test(`findOwnedLocks() finds the owner of ${what}, and its lock, which is the owner too`, t => {
    const view = viewOf32([regionOf(BASE, 1)], mutex(BASE + 40n, fields));
    t.deepEqual(findOwnedLocks(view, [TID]).get(TID), [BASE + 48n, BASE + 40n]);
  });
}

/** struct __pthread_rwlock_arch_t, up to __shared. */
const writeLocks: readonly [what: string, fields: readonly number[], found: boolean][] = [
  ['a read-write lock held for writing', [3, 0, 1, 1, 0, 0, TID, 0], true],
  ['one that others wait for', [3, 0, 3, 3, 0, 0, TID, 0], true],
  ['one with readers that wait', [7 + 16, 1, 3, 1, 0, 0, TID, 0], true],
  ['one that processes share', [3, 0, 1, 1, 0, 0, TID, 1], true],
  ['one that nobody holds', [0, 0, 0, 0, 0, 0, TID, 0], false],
  ['one that readers hold', [8, 0, 0, 0, 0, 0, TID, 0], false],
  ['what has something in its padding', [3, 0, 1, 1, 5, 0, TID, 0], false],
  ['what has no futex', [3, 0, 0, 1, 0, 0, TID, 0], false],
  ['what is shared by half', [3, 0, 1, 1, 0, 0, TID, 2], false],
  ['what has something after __shared', [3, 0, 1, 1, 0, 0, TID, 0, 7], false],
  ['what has no kind at its end', [3, 0, 1, 1, 0, 0, TID, 0, 0, 0, 0, 0, 3], false],
];

for (const [what, fields, found] of writeLocks) {
  test(`findOwnedLocks() ${found ? 'finds' : 'does not take'} ${what}`, t => {
    const view = viewOf32([regionOf(BASE, 1)], mutex(BASE + 40n, fields));
    t.deepEqual(findOwnedLocks(view, [TID]).get(TID), found ? [BASE + 64n] : []);
  });
}

test('findOwnedLocks() does not take a robust one that another thread has locked', t => {
  const view = viewOf32([regionOf(BASE, 1)], mutex(BASE + 40n, [TID + 1, 1, TID, 1, ROBUST]));
  t.deepEqual(findOwnedLocks(view, [TID]).get(TID), []);
});

test('findOwnedLocks() wants a mutex to begin at a multiple of 8', t => {
  const view = viewOf32([regionOf(BASE, 1)], mutex(BASE + 44n, [1, 1, TID, 1, RECURSIVE]));
  t.deepEqual(findOwnedLocks(view, [TID]).get(TID), []);
});

test('findOwnedLocks() believes a small tid in the data of a module, and nowhere else', t => {
  const fields = [1, 1, 7, 1, RECURSIVE];
  const inModule = viewOf32([regionOf(BASE, 1, { kind: 'module-data' })], mutex(BASE, fields));
  t.deepEqual(findOwnedLocks(inModule, [7]).get(7), [BASE + 8n]);
  t.deepEqual(findOwnedLocks(viewOf32([regionOf(BASE, 1)], mutex(BASE, fields)), [7]).get(7), []);
});

test('findOwnedLocks() tells the mutexes of several threads apart', t => {
  const view = viewOf32(
    [regionOf(BASE, 2)],
    [
      ...mutex(BASE, [1, 1, 2 * TID, 1, RECURSIVE]),
      ...mutex(BASE + 64n, [1, 0, TID, 1, ERRORCHECK]),
      ...mutex(BASE + 0x1f00n, [1, 2, 2 * TID, 1, RECURSIVE]),
    ],
  );
  const found = findOwnedLocks(view, [TID, 2 * TID, 3 * TID]);
  t.deepEqual(
    [...found],
    [
      [TID, [BASE + 72n]],
      [2 * TID, [BASE + 8n, BASE + 0x1f08n]],
      [3 * TID, []],
    ],
  );
});

for (const before of [4, 8, 12, 16, 20, 24]) {
  test(`findOwnedLocks() finds a mutex that begins ${before} bytes before the end of a chunk`, t => {
    const at = BASE + BigInt(CHUNK - before);
    const view = viewOf32([regionOf(BASE, CHUNK / PAGE + 1)], mutex(at, [1, 1, TID, 1, RECURSIVE]));
    const aligned = at % 8n === 0n;
    t.deepEqual(findOwnedLocks(view, [TID]).get(TID), aligned ? [at + 8n] : []);
  });
}

test('findOwnedLocks() finds the mutexes of a thousand threads as it finds those of a few', t => {
  const tids = Array.from({ length: 1000 }, (_, i) => TID + 3 * i);
  const words = tids.flatMap((tid, i) => mutex(BASE + BigInt(i * 64), [1, 1, tid, 1, RECURSIVE]));
  const view = viewOf32([regionOf(BASE, 20)], words);
  const all = findOwnedLocks(view, tids);
  t.deepEqual(all, new Map(tids.map((tid, i) => [tid, [BASE + BigInt(i * 64 + 8)]])));
  for (const few of [tids.slice(0, 3), tids.slice(-1)]) {
    t.deepEqual(findOwnedLocks(view, few), new Map([...all].filter(([tid]) => few.includes(tid))));
  }
});
