import test from 'ava';
import fc from 'fast-check';
import { UnexecError } from '../../../unexec/errors.ts';
import { PAGE } from '../../../unexec/image.ts';
import { comparePointers, type PairedModule, type PairedRange } from '../../../unexec/pointers.ts';
import { memoryOf } from '../../support/synthetic-memory.ts';

const SHIFT = 0x1234_5678_9000n;
/** The image of most tests: two pages of data, in two runs. */
const DATA = { name: '__DATA', start1: 0x2000_0000_0000n, start2: 0x2000_0000_0000n + SHIFT, size: 2 * PAGE };
const CODE: PairedRange = {
  name: '__TEXT',
  start1: 0x1fff_0000_0000n,
  start2: 0x1fff_0000_0000n + SHIFT,
  size: PAGE,
  searched: false,
};
const LIBRARY: PairedModule = {
  name: 'libSystem',
  start1: 0x7f00_0000_0000n,
  start2: 0x7f11_0000_0000n,
  size: 0x10000,
};
const STACK: PairedModule = {
  name: '[stack]',
  start1: 0x7ffc_0000_0000n,
  start2: 0x7ffd_0000_0000n,
  size: 0x20000,
};

/** Values of both runs at offsets of `DATA`. */
type Words = readonly (readonly [offset: number, value1: bigint, value2: bigint])[];

function compareWords(
  words: Words,
  facts: { ranges?: readonly PairedRange[]; data?: PairedRange; outside?: readonly PairedModule[] } = {},
) {
  const data = facts.data ?? DATA;
  const images = [0, 1].map(run => {
    const bytes = new Uint8Array(data.size);
    const view = new DataView(bytes.buffer);
    for (const [offset, ...values] of words) view.setBigUint64(offset, values[run] ?? 0n, true);
    return memoryOf([{ start: run === 0 ? data.start1 : data.start2, bytes }]);
  });
  const [a, b] = images;
  if (a === undefined || b === undefined) throw new Error('two images were made');
  const result = comparePointers({
    ranges: [data, ...(facts.ranges ?? [CODE])],
    image: { a, b },
    outside: facts.outside ?? [LIBRARY, STACK],
  });
  const [first] = result.ranges;
  if (first === undefined) throw new Error('one range was searched');
  return { ...result, slots: [...first.slots], outward: first.outward };
}

const moved = (value: bigint, shift = SHIFT): [bigint, bigint] => [value, value + shift];

const kinds: readonly (readonly [what: string, words: Words, slots: readonly number[]])[] = [
  ['a pointer into its own range', [[16, ...moved(DATA.start1 + 64n)]], [16]],
  ['a pointer to code', [[16, ...moved(CODE.start1 + 0x10n)]], [16]],
  ['an interior pointer, odd', [[16, ...moved(DATA.start1 + 77n)]], [16]],
  ['a pointer to the first byte', [[0, ...moved(DATA.start1)]], [0]],
  ['a pointer one past the end', [[16, ...moved(DATA.start1 + BigInt(DATA.size))]], [16]],
  ['a pointer at the very end', [[2 * PAGE - 8, ...moved(DATA.start1)]], [2 * PAGE - 8]],
  ['a pointer with tag bits', [[16, ...moved(DATA.start1 + 64n + 5n)]], [16]],
  ['a pointer with a tag in its top byte', [[16, ...moved((0xa7n << 56n) | (DATA.start1 + 64n))]], [16]],
  ['a pointer in a NaN', [[16, ...moved((0xfffen << 48n) | (DATA.start1 + 64n))]], [16]],
  ['a pointer from which an index is counted', [[16, ...moved(DATA.start1 - 0x80000n)]], [16]],
  ['a pointer at an odd multiple of 4', [[20, ...moved(DATA.start1 + 64n)]], [20]],
  ['a pointer at an odd byte', [[21, ...moved(DATA.start1 + 64n)]], [21]],
  ['a pointer from one page to the next', [[PAGE - 3, ...moved(DATA.start1 + 64n)]], [PAGE - 3]],
  [
    'a row of pointers at odd multiples of 4',
    [
      [4, ...moved(DATA.start1)],
      [12, ...moved(CODE.start1)],
    ],
    [4, 12],
  ],
  [
    'an unaligned pointer beside an aligned one',
    [
      [3, ...moved(DATA.start1)],
      [16, ...moved(CODE.start1)],
    ],
    [3, 16],
  ],
];
for (const [what, words, slots] of kinds) {
  test(`comparePointers() finds ${what}`, t => {
    const result = compareWords(words);
    t.deepEqual(result.slots, slots);
    t.is(result.counts.pointers, slots.length);
    t.is(result.counts.unexplained, 0);
  });
}

const constants: readonly (readonly [what: string, value: bigint])[] = [
  ['a number', 12345n],
  ['a number that is an address of the first run', DATA.start1 + 64n],
  ['a number that is an address of the second run', DATA.start2 + 64n],
  ['a number that is an address of a module', LIBRARY.start1 + 64n],
];
for (const [what, value] of constants) {
  test(`comparePointers() takes ${what} for a constant where both runs have it`, t => {
    const { counts } = compareWords([[16, value, value]]);
    t.like(counts, { words: (2 * PAGE) / 8, pointers: 0, outward: 0, still: 0, unexplained: 0 });
  });
}

const unexplained: readonly (readonly [what: string, value1: bigint, value2: bigint, into?: string])[] = [
  ['a word that moved by another amount', DATA.start1 + 64n, DATA.start2 + 72n, '__DATA'],
  ['a pointer to the stack', STACK.start1 + 0x100n, STACK.start2 + 0x230n, '[stack]'],
  ['a random number', 0x123456789abcdef0n, 0xfedcba9876543210n],
  ['a pointer whose tag changed', (1n << 56n) | (DATA.start1 + 64n), (2n << 56n) | (DATA.start2 + 64n)],
  ['a pointer of which one half moved', DATA.start1 & 0xffff_ffffn, DATA.start2 & 0xffff_ffffn],
  ['the complement of a pointer', ~DATA.start1 & (2n ** 64n - 1n), ~DATA.start2 & (2n ** 64n - 1n)],
  ['a tagged pointer to a module', (7n << 56n) | LIBRARY.start1, (7n << 56n) | LIBRARY.start2],
];
for (const [what, value1, value2, into] of unexplained) {
  test(`comparePointers() lists ${what} as unexplained`, t => {
    const result = compareWords([[24, value1, value2]]);
    t.deepEqual(result.slots, []);
    t.is(result.counts.unexplained, 1);
    t.deepEqual(result.unexplained, [{ range: DATA, offset: 24, value1, value2, into }]);
  });
}

test('comparePointers() tells where pointers lead that leave the image', t => {
  const { slots, outward, counts } = compareWords([
    [8, LIBRARY.start1 + 0x1234n, LIBRARY.start2 + 0x1234n],
    [20, STACK.start1 + 0x100n, STACK.start2 + 0x100n],
    [32, LIBRARY.start1 + 0x10000n, LIBRARY.start2 + 0x10000n],
  ]);
  t.deepEqual(slots, []);
  t.deepEqual([...outward.offsets], [8, 20, 32]);
  t.deepEqual([...outward.modules], [0, 1, 0]);
  t.deepEqual([...outward.targets], [0x1234, 0x100, 0x10000]);
  t.like(counts, { outward: 3, unexplained: 0 });
});

test('comparePointers() lists a base outside of the image, which is a pointer all the same', t => {
  const [value1, value2] = moved(DATA.start1 - 0x80000n);
  const { biased, counts } = compareWords([[16, value1, value2]]);
  t.deepEqual(biased, [{ range: DATA, offset: 16, value1, value2, into: undefined }]);
  t.is(counts.biased, 1);
});

test('comparePointers() does not take a number for a base that changed by as much as a small slide', t => {
  const data = { ...DATA, start2: DATA.start1 + 0x4000n };
  const code = { ...CODE, start2: CODE.start1 + 0x4000n };
  const { slots, counts } = compareWords(
    [
      [16, 0x1000n, 0x5000n],
      [24, ...moved(DATA.start1, 0x4000n)],
    ],
    { data, ranges: [code] },
  );
  t.deepEqual(slots, [24]);
  t.is(counts.unexplained, 1);
});

test('comparePointers() tells equal words that are addresses of a module that did not move', t => {
  const still = { ...LIBRARY, start2: LIBRARY.start1 };
  const value = LIBRARY.start1 + 0x10n;
  const { ranges, slots, counts } = compareWords(
    [
      [8, ...moved(DATA.start1)],
      [16, value, value],
      [24, 5n, 5n],
    ],
    { outside: [STACK, still] },
  );
  t.deepEqual(slots, [8]);
  const { offsets, modules, targets } = ranges[0]?.still ?? fail();
  t.deepEqual([[...offsets], [...modules], [...targets]], [[16], [1], [0x10]]);
  t.like(counts, { still: 1, outward: 0, unexplained: 0 });
});

test('comparePointers() has no use for modules beyond 48 bits, and no quarrel with them', t => {
  const vsyscall = {
    name: '[vsyscall]',
    start1: 0xffff_ffff_ff60_0000n,
    start2: 0xffff_ffff_ff60_0000n,
    size: PAGE,
  };
  const { outward, counts } = compareWords(
    [
      [8, vsyscall.start1, vsyscall.start1],
      [16, LIBRARY.start1, LIBRARY.start2],
    ],
    { outside: [vsyscall, LIBRARY] },
  );
  t.deepEqual([...outward.modules], [1]);
  t.like(counts, { still: 0, outward: 1, unexplained: 0 });
});

function fail(): never {
  throw new Error('one range was searched');
}

test('comparePointers() follows ranges that moved by different amounts', t => {
  const heap: PairedRange = {
    name: '[heap]',
    start1: 0x5000_0000_0000n,
    start2: 0x5777_0000_1000n,
    size: PAGE,
  };
  const into = (offset: bigint): [bigint, bigint] => [heap.start1 + offset, heap.start2 + offset];
  const result = compareWords(
    [
      [0, ...into(0x10n)],
      [8, ...moved(DATA.start1)],
      [16, ...into(BigInt(PAGE))],
      // Moved as the data did, but it leads into the heap.
      [24, ...moved(heap.start1 + 8n)],
    ],
    { ranges: [{ ...heap, searched: false }] },
  );
  t.deepEqual(result.slots, [0, 8, 16, 24]);
  t.is(result.counts.biased, 1);
});

test('comparePointers() knows one past the end from the start of what is adjacent by the shift', t => {
  const next: PairedRange = {
    name: 'next',
    start1: DATA.start1 + BigInt(DATA.size),
    start2: 0x6000_0000_0000n,
    size: PAGE,
    searched: false,
  };
  const result = compareWords(
    [
      [0, next.start1, next.start2],
      [8, ...moved(next.start1)],
      [16, next.start1, 0x6100_0000_0000n],
    ],
    { ranges: [next] },
  );
  t.deepEqual(result.slots, [0, 8]);
  t.like(result.counts, { biased: 0, unexplained: 1 });
});

test('comparePointers() lets the pointers of a fixed range be constants', t => {
  const fixed = { ...CODE, start2: CODE.start1, fixed: true };
  const { slots, counts } = compareWords(
    [
      [0, CODE.start1, CODE.start1],
      [8, ...moved(DATA.start1)],
    ],
    { ranges: [fixed] },
  );
  t.deepEqual(slots, [8]);
  t.is(counts.unexplained, 0);
});

test('comparePointers() searches nothing where it is told not to', t => {
  const data = { ...DATA, skip: [{ start: 12, end: 24 }] };
  const pointer = moved(DATA.start1);
  const { slots, counts } = compareWords(
    [
      [0, ...pointer],
      [8, ...pointer],
      [16, ...pointer],
      [24, ...pointer],
    ],
    { data },
  );
  t.deepEqual(slots, [0, 24]);
  // Half of the second word is searched, and moved by itself.
  t.is(counts.unexplained, 1);
});

test('comparePointers() searches a range whose ends are within words', t => {
  const data = { ...DATA, start1: DATA.start1 + 4n, start2: DATA.start2 + 4n, size: 8 + 4 + 8 + 4 };
  const { slots, counts } = compareWords(
    [
      [4, ...moved(DATA.start1 + 8n)],
      [14, ...moved(DATA.start1 + 8n)],
    ],
    { data },
  );
  t.deepEqual(slots, [4, 14]);
  t.like(counts, { words: 4, unaligned: 1, unexplained: 0 });
});

const CHUNK = 1 << 20;
for (const offset of [CHUNK - 8, CHUNK, CHUNK - 4, CHUNK - 7, CHUNK - 1, 2 * CHUNK - 3]) {
  test(`comparePointers() finds a pointer at ${offset}, near the end of a chunk`, t => {
    const data = { ...DATA, size: 2 * CHUNK + PAGE };
    // Shifts of which only the upper, or only the lower bytes differ leave half of a pointer equal.
    for (const shift of [SHIFT, 0x7000_0000_0000n, 0x4000n]) {
      const shifted = { ...data, start2: data.start1 + shift };
      const result = compareWords([[offset, ...moved(DATA.start1 + 0x1_0001n, shift)]], {
        data: shifted,
        ranges: [],
      });
      t.deepEqual(result.slots, [offset]);
      t.is(result.counts.unexplained, 0);
    }
  });
}

test('comparePointers() reads only pages that either run has touched', t => {
  const size = 1024 * PAGE;
  const range = { ...DATA, size };
  const read: number[] = [];
  const image = (run: 0 | 1, start: bigint, touched: readonly number[]) => {
    const image = memoryOf([{ start, bytes: new Uint8Array(size) }]);
    return {
      regions: image.regions,
      memory: {
        read: (_address: bigint, into: Uint8Array) => {
          if (run === 0) read.push(into.length);
          into.fill(0);
        },
        touched: () => touched.map(first => ({ first, count: 1 })),
      },
    };
  };
  const { counts } = comparePointers({
    ranges: [range],
    image: { a: image(0, range.start1, [3, 4]), b: image(1, range.start2, [900]) },
    outside: [],
  });
  t.deepEqual(read, [2 * PAGE + 16, PAGE + 16]);
  t.is(counts.words, size / 8);
});

test('comparePointers() lists so many words as it is asked to, and counts all', t => {
  const a = memoryOf([{ start: DATA.start1, bytes: new Uint8Array(DATA.size).fill(1) }]);
  const b = memoryOf([{ start: DATA.start2, bytes: new Uint8Array(DATA.size).fill(2) }]);
  const result = comparePointers({ ranges: [DATA], image: { a, b }, outside: [], listed: 3 });
  t.is(result.unexplained.length, 3);
  t.is(result.counts.unexplained, DATA.size / 8);
});

const refusals: readonly (readonly [what: string, code: string, ranges: readonly PairedRange[]])[] = [
  ['both runs at the same addresses', 'SAME_ADDRESSES', [{ ...DATA, start2: DATA.start1 }]],
  ['one range at the same address', 'SAME_ADDRESSES', [DATA, { ...CODE, start2: CODE.start1 }]],
  ['ranges that overlap', 'BAD_RANGES', [DATA, { ...DATA, name: 'again' }]],
  ['ranges that overlap in the second run', 'BAD_RANGES', [DATA, { ...CODE, start2: DATA.start2 + 8n }]],
  ['addresses of more than 48 bits', 'BAD_RANGES', [{ ...DATA, start2: 2n ** 48n - 8n }]],
  ['a shift that is no multiple of a word', 'BAD_RANGES', [{ ...DATA, start2: DATA.start2 + 4n }]],
  ['a size that is none', 'BAD_RANGES', [{ ...DATA, size: Number.NaN }]],
  ['a fixed range that moved', 'BAD_RANGES', [{ ...DATA, fixed: true }]],
];
for (const [what, code, ranges] of refusals) {
  test(`comparePointers() refuses ${what}`, t => {
    const image = { a: memoryOf([]), b: memoryOf([]) };
    const error = t.throws(() => comparePointers({ ranges, image, outside: [] }), {
      instanceOf: UnexecError,
    });
    t.is(error?.code, code);
  });
}

test('comparePointers() finds exactly the pointers of random memory', t => {
  const size = 512;
  const shift = fc
    .bigInt(-0x1000_0000n, 0x6fff_ffffn)
    .map(pages => pages * 4096n)
    .filter(by => by !== 0n);
  const word = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pointer' as const), to: fc.nat(size) }) },
    fc.record({ kind: fc.constant('constant' as const), value: fc.bigInt(0n, 2n ** 64n - 1n) }),
    fc.record({ kind: fc.constant('outward' as const), to: fc.nat(LIBRARY.size) }),
  );
  fc.assert(
    fc.property(shift, fc.array(word, { minLength: 1, maxLength: size / 8 }), (shift, words) => {
      const data: PairedRange = { ...DATA, start2: DATA.start1 + shift, size };
      if (shift === LIBRARY.start2 - LIBRARY.start1) return;
      const values = words.map((word, i): [number, bigint, bigint] => {
        if (word.kind === 'pointer') return [i * 8, ...moved(data.start1 + BigInt(word.to), shift)];
        if (word.kind === 'constant') return [i * 8, word.value, word.value];
        return [i * 8, LIBRARY.start1 + BigInt(word.to), LIBRARY.start2 + BigInt(word.to)];
      });
      const offsets = (kind: string) => words.flatMap((word, i) => (word.kind === kind ? [i * 8] : []));
      const result = compareWords(values, { data, ranges: [], outside: [LIBRARY] });
      t.deepEqual(result.slots, offsets('pointer'));
      t.deepEqual([...result.outward.offsets], offsets('outward'));
      t.is(result.counts.unexplained, 0);
    }),
    { numRuns: 300 },
  );
});

test('comparePointers() compares 64 MiB with two million pointers within seconds', t => {
  const size = 64 << 20;
  const range = { ...DATA, size };
  const images = [range.start1, range.start2].map(start => {
    const bytes = new Uint8Array(size);
    const words = new BigUint64Array(bytes.buffer);
    for (let i = 0; i < words.length; i += 4) words[i] = start + BigInt((i * 40) % size);
    for (let i = 1; i < words.length; i += 4) words[i] = BigInt(i);
    return memoryOf([{ start, bytes }]);
  });
  const [a, b] = images;
  if (a === undefined || b === undefined) throw new Error('two images were made');
  const started = performance.now();
  const { counts } = comparePointers({ ranges: [range], image: { a, b }, outside: [LIBRARY] });
  const milliseconds = performance.now() - started;
  t.is(counts.pointers, size / 32);
  t.log(`${Math.round(milliseconds)} ms`);
  // 200 MiB in a few seconds; a loaded machine may take its time.
  t.true(milliseconds < 10_000);
});
