import test from 'ava';
import { UnexecError } from '../../../unexec/errors.ts';
import { PAGE } from '../../../unexec/image.ts';
import { type ScannedModule, type ScannedRange, scanPointers } from '../../../unexec/pointers.ts';
import { memoryOf } from '../../support/synthetic-memory.ts';

const DATA: ScannedRange = { name: '__DATA', start: 0x5544_3322_0000n, size: 2 * PAGE };
const CODE: ScannedRange = { name: '__TEXT', start: 0x5544_3300_0000n, size: PAGE, searched: false };
const LIBRARY: ScannedModule = { name: 'libSystem', start: 0x7f00_0000_0000n, size: 0x10000 };

type Words = readonly (readonly [offset: number, value: bigint])[];

function scanWords(words: Words, data = DATA, code = CODE) {
  const bytes = new Uint8Array(data.size);
  const view = new DataView(bytes.buffer);
  for (const [offset, value] of words) view.setBigUint64(offset, value, true);
  const image = memoryOf([{ start: data.start, bytes }]);
  const result = scanPointers({ ranges: [data, code], image, outside: [LIBRARY] });
  const [first] = result.ranges;
  if (first === undefined) throw new Error('one range was searched');
  return { ...result, slots: [...first.slots], outward: first.outward };
}

const plain: readonly (readonly [what: string, words: Words, slots: readonly number[]])[] = [
  [
    'pointers to data and code',
    [
      [8, DATA.start + 64n],
      [16, CODE.start + 4n],
    ],
    [8, 16],
  ],
  ['interior pointers', [[8, DATA.start + 77n]], [8]],
  [
    'a pointer to the first and one in the last word',
    [
      [0, DATA.start],
      [2 * PAGE - 8, CODE.start],
    ],
    [0, 2 * PAGE - 8],
  ],
  [
    'no number that is no address',
    [
      [8, 1n],
      [16, 0xffff_ffff_ffff_ffffn],
      [24, 0x1234_5678_9abcn],
    ],
    [],
  ],
  [
    'no address beyond the image',
    [
      [8, DATA.start - 1n],
      [16, DATA.start + BigInt(DATA.size) + 1n],
    ],
    [],
  ],
];
for (const [what, words, slots] of plain) {
  test(`scanPointers() finds ${what}`, t => {
    const result = scanWords(words);
    t.deepEqual(result.slots, slots);
    t.deepEqual(result.doubtful, []);
  });
}

const TEXT = 0x4141_4141_4141_4141n;
/** A range whose addresses could be letters. */
const LETTERS: ScannedRange = { name: 'letters', start: 0x4645_4400_0000n, size: 64 << 20 };
const LOW: ScannedRange = { name: 'low', start: 0x1_0400_0000n, size: PAGE };
const END = BigInt(DATA.size);

const doubts: readonly (readonly [why: string, words: Words, at: number, data?: ScannedRange])[] = [
  ['tagged', [[16, (1n << 56n) | DATA.start]], 16],
  ['one past the end', [[16, DATA.start + END]], 16],
  [
    'text',
    [
      [8, TEXT],
      [16, 0x4645_4443_4241n],
    ],
    16,
    { ...LETTERS, size: 0x1000000 },
  ],
  [
    'pair',
    [
      [8, 0x1_0000_0007n],
      [16, LOW.start + 8n],
      [24, 0x1_0000_0009n],
    ],
    16,
    LOW,
  ],
  [
    'in a free block',
    [[16, DATA.start + 8n]],
    16,
    { ...DATA, doubtTo: to => (to === 8 ? 'in a free block' : undefined) },
  ],
  [
    'on the stack',
    [[16, DATA.start + 8n]],
    16,
    { ...DATA, doubtAt: at => (at === 16 ? 'on the stack' : undefined) },
  ],
];
for (const [why, words, offset, data = DATA] of doubts) {
  test(`scanPointers() takes a word for a pointer and doubts it: ${why}`, t => {
    const { slots, doubtful, counts } = scanWords(words, data);
    const value = words.find(([at]) => at === offset)?.[1];
    t.deepEqual(slots, [offset]);
    t.like(doubtful, [{ range: data, offset, value, into: data.name, why, taken: true }]);
    t.is(doubtful.length, 1);
    t.is(counts.doubtful, 1);
  });
}

const undoubted: readonly (readonly [what: string, words: Words, data: ScannedRange])[] = [
  [
    'letters after no letters',
    [
      [8, 7n],
      [16, 0x4645_4443_4241n],
    ],
    { ...LETTERS, size: 0x1000000 },
  ],
  [
    'a low address beside a pointer',
    [
      [8, LOW.start],
      [16, LOW.start + 8n],
      [24, 0x1_0000_0009n],
    ],
    LOW,
  ],
  [
    'a low address among numbers of another size',
    [
      [8, 3n],
      [16, LOW.start + 8n],
      [24, 4n],
    ],
    LOW,
  ],
];
for (const [what, words, data] of undoubted) {
  test(`scanPointers() does not doubt ${what}`, t => {
    const { slots, doubtful } = scanWords(words, data);
    t.true(slots.includes(16));
    t.deepEqual(doubtful, []);
  });
}

test('scanPointers() doubts one past the end only where nothing begins', t => {
  const code = { ...CODE, start: DATA.start + END };
  const { slots, doubtful } = scanWords([[16, DATA.start + END]], DATA, code);
  t.deepEqual(slots, [16]);
  t.deepEqual(doubtful, []);
});

test('scanPointers() lists an unaligned address, and leaves it as it is', t => {
  const { slots, doubtful } = scanWords([
    [0, DATA.start],
    [20, DATA.start + 8n],
  ]);
  t.deepEqual(slots, [0]);
  t.like(doubtful, [{ offset: 20, value: DATA.start + 8n, why: 'unaligned', taken: false }]);
});

test('scanPointers() does not take parts of two pointers for an unaligned one', t => {
  // The upper half of the first and the lower of the second are an address at 4.
  const range: ScannedRange = { name: 'wide', start: 0x2000_2000_0000n, size: 64 << 20 };
  const { slots, counts } = scanWords(
    [
      [0, 0x2000_2000_0000n],
      [8, 0x2000_2000_2000n],
    ],
    range,
  );
  t.deepEqual(slots, [0, 8]);
  t.is(counts.doubtful, 0);
});

test('scanPointers() tells where addresses of modules lead', t => {
  const { slots, outward, counts } = scanWords([
    [16, LIBRARY.start + 0x123n],
    [24, (1n << 56n) | LIBRARY.start],
  ]);
  t.deepEqual(slots, []);
  t.deepEqual([[...outward.offsets], [...outward.modules], [...outward.targets]], [[16], [0], [0x123]]);
  t.is(counts.outward, 1);
});

test('scanPointers() has no use for modules beyond 48 bits, and no quarrel with them', t => {
  const image = memoryOf([{ start: DATA.start, bytes: new Uint8Array(DATA.size).fill(0xff) }]);
  const vsyscall = { name: '[vsyscall]', start: 0xffff_ffff_ff60_0000n, size: PAGE };
  t.like(scanPointers({ ranges: [DATA], image, outside: [vsyscall] }).counts, { outward: 0, pointers: 0 });
});

test('scanPointers() searches nothing where it is told not to', t => {
  const { slots } = scanWords(
    [
      [0, DATA.start],
      [8, DATA.start],
      [16, DATA.start],
    ],
    {
      ...DATA,
      skip: [{ start: 8, end: 16 }],
    },
  );
  t.deepEqual(slots, [0, 16]);
});

test('scanPointers() lists so many words as it is asked to, and counts all', t => {
  const bytes = new Uint8Array(DATA.size);
  new BigUint64Array(bytes.buffer).fill((1n << 56n) | DATA.start);
  const image = memoryOf([{ start: DATA.start, bytes }]);
  const result = scanPointers({ ranges: [DATA], image, outside: [], listed: 2 });
  t.is(result.doubtful.length, 2);
  t.is(result.counts.doubtful, DATA.size / 8);
});

test('scanPointers() refuses ranges that overlap', t => {
  const error = t.throws(() => scanPointers({ ranges: [DATA, DATA], image: memoryOf([]), outside: [] }), {
    instanceOf: UnexecError,
  });
  t.is(error?.code, 'BAD_RANGES');
});
