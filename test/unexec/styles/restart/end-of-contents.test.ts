import test from 'ava';
import { endOfContents } from '../../../../unexec/styles/restart/end-of-contents.ts';
import { memoryOf } from '../../../support/synthetic-memory.ts';

const START = 0x1_0000_0000n;
const CHUNK = 1 << 20;
const PAGE = 4096;

/** Where the contents end of memory in which these bytes are 1. */
function endOf(size: number, set: readonly number[], asked = size): number {
  const bytes = new Uint8Array(size);
  for (const at of set) bytes[at] = 1;
  return endOfContents(memoryOf([{ start: START, bytes }]), START, asked);
}

const cases: readonly (readonly [what: string, size: number, set: readonly number[], end: number])[] = [
  ['of zeros alone', 3 * CHUNK, [], 0],
  ['that begins with a byte', 3 * CHUNK, [0], 1],
  ['whose last byte is one', 3 * CHUNK, [5, 3 * CHUNK - 1], 3 * CHUNK],
  ['whose last byte ends a chunk', 3 * CHUNK, [0, CHUNK - 1], CHUNK],
  ['whose last byte begins a chunk', 3 * CHUNK, [CHUNK], CHUNK + 1],
  ['that is shorter than a chunk', PAGE, [100], 101],
  ['of no whole number of chunks', CHUNK + 3 * PAGE, [CHUNK + PAGE + 1], CHUNK + PAGE + 2],
];
for (const [what, size, set, end] of cases)
  test(`endOfContents() finds the end of memory ${what}`, t => {
    t.is(endOf(size, set), end);
  });

test('endOfContents() looks at no more than it is asked about', t => {
  t.is(endOf(CHUNK, [10, 5000, 9000], 8192), 5001);
  t.is(endOf(CHUNK, [8191, 8192], 8192), 8192);
});

test('endOfContents() looks at all mappings, and sees nothing where there is none', t => {
  const page = new Uint8Array(PAGE).fill(1);
  const image = memoryOf([
    { start: START, bytes: page },
    { start: START + BigInt(4 * PAGE), bytes: new Uint8Array(PAGE) },
    { start: START - BigInt(PAGE), bytes: page },
  ]);
  t.is(endOfContents(image, START, 16 * PAGE), PAGE);
  t.is(endOfContents(image, START + BigInt(PAGE), 2 * PAGE), 0);
});
