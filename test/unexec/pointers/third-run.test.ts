import test from 'ava';
import { PAGE } from '../../../unexec/image.ts';
import { compareThree } from '../../../unexec/pointers.ts';
import { memoryOf } from '../../support/synthetic-memory.ts';

const STARTS = [0x2000_0000_0000n, 0x2123_4567_8000n, 0x2fed_cba9_8000n] as const;
const LIBRARY = [0x7f00_0000_0000n, 0x7f11_0000_0000n, 0x7f22_0000_0000n] as const;
/** A library that lay at the same address in the first two runs. */
const LATE = [0x7e00_0000_0000n, 0x7e00_0000_0000n, 0x7e55_0000_0000n] as const;
/** One that did in the first and the third. */
const EARLY = [0x7d00_0000_0000n, 0x7d44_0000_0000n, 0x7d00_0000_0000n] as const;
const SIZE = 2 * PAGE;

type Values = readonly [bigint, bigint, bigint];
const into = (starts: Values, offset: bigint): Values => [
  starts[0] + offset,
  starts[1] + offset,
  starts[2] + offset,
];

/** Compares three runs whose words are these, at offsets 0, 8, … */
function settle(words: readonly Values[], listed?: number) {
  const [a, b, c] = STARTS.map((start, run) => {
    const bytes = new Uint8Array(SIZE);
    const view = new DataView(bytes.buffer);
    for (const [i, values] of words.entries()) view.setBigUint64(8 * i, values[run] ?? 0n, true);
    return memoryOf([{ start, bytes }]);
  });
  if (a === undefined || b === undefined || c === undefined) throw new Error('three images were made');
  const modules = [LIBRARY, LATE, EARLY];
  const result = compareThree(
    {
      ranges: [{ name: 'data', start1: STARTS[0], start2: STARTS[1], size: SIZE }],
      outside: modules.map(([start1, start2], i) => ({
        name: `library ${i}`,
        start1,
        start2,
        size: 0x10000,
      })),
      image: { a, b },
      ...(listed === undefined ? {} : { listed }),
    },
    { image: c, rangeStarts: [STARTS[2]], moduleStarts: modules.map(([, , start3]) => start3) },
  );
  const [range] = result.ranges;
  if (range === undefined) throw new Error('one range was compared');
  return { ...result, range };
}

test('compareThree() keeps what all three runs agree on', t => {
  const { range, counts, contradicted } = settle([
    into(STARTS, 0x40n),
    [5n, 5n, 5n],
    into(LIBRARY, 0x123n),
    into(STARTS, 0x80n),
  ]);
  t.deepEqual([...range.slots], [0, 24]);
  t.deepEqual([...range.outward.offsets], [16]);
  t.deepEqual([...range.outward.targets], [0x123]);
  t.like(counts, { pointers: 2, outward: 1, unexplained: 0, still: 0 });
  t.deepEqual(contradicted, []);
});

const address = STARTS[0] + 0x40n;
const shift = STARTS[1] - STARTS[0];
const coincidences: readonly (readonly [what: string, values: Values, was: string])[] = [
  [
    'a counter that differs by the shift of the first two runs',
    [address, address + shift, address + 1n],
    'pointer',
  ],
  ['a number that is the same in the first and third run', [address, address + shift, address], 'pointer'],
  ['a number that is the same in two runs', [7n, 7n, 8n], 'constant'],
  [
    'a constant that differs by the shift of the third run',
    [address, address, STARTS[2] + 0x40n],
    'constant',
  ],
  ['an address of a library that the third run has not', [LIBRARY[0] + 8n, LIBRARY[1] + 8n, 3n], 'outward'],
  ['another function of the same library', [LIBRARY[0] + 8n, LIBRARY[1] + 8n, LIBRARY[2] + 9n], 'outward'],
];
for (const [what, values, was] of coincidences) {
  test(`compareThree() takes ${what} for unexplained`, t => {
    const { range, contradicted, contradictions, counts, unexplained } = settle([into(STARTS, 0n), values]);
    t.deepEqual([...range.slots], [0]);
    t.deepEqual([...range.outward.offsets], []);
    t.deepEqual([...range.unexplained], [8]);
    t.is(counts.unexplained, 1);
    t.is(contradictions, 1);
    t.like(contradicted, [{ offset: 8, values, was }]);
    t.true(unexplained.every(({ range: { name } }) => name === 'data'));
  });
}

test('compareThree() knows pointers to what stood still in two of the runs', t => {
  const { range, counts } = settle([
    into(LATE, 0x10n),
    into(EARLY, 0x20n),
    // A number that looks like an address of the library that moved later.
    [LATE[0] + 0x30n, LATE[0] + 0x30n, LATE[0] + 0x30n],
  ]);
  t.deepEqual([...range.outward.offsets], [0, 8]);
  t.deepEqual([...range.outward.modules], [1, 2]);
  t.deepEqual([...range.outward.targets], [0x10, 0x20]);
  t.deepEqual([...range.still.offsets], []);
  t.like(counts, { outward: 2, still: 0, unexplained: 0 });
});

test('compareThree() leaves unexplained what was so in two runs, and lists it once', t => {
  const { range, unexplained, contradictions } = settle([
    [1n, 2n, 3n],
    [1n, 2n, 1n],
    [4n, 4n, 5n],
  ]);
  t.deepEqual([...range.unexplained], [0, 8, 16]);
  t.deepEqual(
    unexplained.map(({ offset, value1, value2 }) => [offset, value1, value2]),
    [
      [0, 1n, 2n],
      [8, 1n, 2n],
      [16, 4n, 5n],
    ],
  );
  t.is(contradictions, 1);
});

test('compareThree() lists no more than it is told to, and counts all', t => {
  const words = Array.from({ length: 100 }, (_, i): Values => [1n, 1n, BigInt(i + 2)]);
  const { contradicted, contradictions, counts } = settle(words, 10);
  t.is(contradicted.length, 10);
  t.is(contradictions, 100);
  t.is(counts.unexplained, 100);
});

test('compareThree() refuses a third run at the addresses of the first', t => {
  const image = memoryOf([{ start: STARTS[0], bytes: new Uint8Array(SIZE) }]);
  const second = memoryOf([{ start: STARTS[1], bytes: new Uint8Array(SIZE) }]);
  const comparison = {
    ranges: [{ name: 'data', start1: STARTS[0], start2: STARTS[1], size: SIZE }],
    outside: [],
    image: { a: image, b: second },
  };
  const third = { image, rangeStarts: [STARTS[0]], moduleStarts: [] };
  t.throws(() => compareThree(comparison, third), { code: 'SAME_ADDRESSES' });
});
