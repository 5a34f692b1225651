import { statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { PAGE, type PageRange } from '../../../../unexec/image.ts';
import {
  isStored,
  mergeRanges,
  planSpans,
  type StoredSpan,
  storeObject,
  storeSpans,
} from '../../../../unexec/styles/resume/contents.ts';
import { sandbox } from '../../../support/sandbox.ts';
import { imageOf, pagesMemory } from '../../../support/synthetic-image.ts';
import { regionOf } from '../../../support/synthetic-view.ts';

const directory = sandbox('contents');
const BASE = 0x7000_0000_0000n;
/** Pages that may lie between two stretches that share a span. */
const MERGE = 512;

/** Ascending ranges that do not touch, as `touched` gives them. */
const anyRanges = (size: number): fc.Arbitrary<PageRange[]> =>
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: size }), fc.integer({ min: 1, max: size })), { maxLength: 12 })
    .map(pairs => {
      let at = 0;
      return pairs.map(([gap, count]) => {
        const first = at + gap;
        at = first + count;
        return { first, count };
      });
    });

const pagesOf = (ranges: Iterable<PageRange>): number[] =>
  [...ranges].flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));

// mergeRanges

test('mergeRanges() keeps every page, and adds only pages of gaps that are small enough', t => {
  fc.assert(
    fc.property(anyRanges(20), fc.nat({ max: 20 }), (ranges, gap) => {
      const merged = mergeRanges(ranges, gap);
      const before = new Set(pagesOf(ranges));
      const after = new Set(pagesOf(merged));
      for (const page of before) t.true(after.has(page));
      for (const [i, { first, count }] of merged.entries()) {
        t.true(before.has(first) && before.has(first + count - 1), 'ends are pages that were there');
        const next = merged[i + 1];
        t.true(next === undefined || next.first - (first + count) > gap, 'nothing is left to merge');
        let missing = 0;
        for (let page = first; page < first + count; page++) {
          missing = before.has(page) ? 0 : missing + 1;
          t.true(missing <= gap);
        }
      }
    }),
  );
});

test('mergeRanges() changes nothing the second time', t => {
  fc.assert(
    fc.property(anyRanges(20), fc.nat({ max: 20 }), (ranges, gap) => {
      const merged = mergeRanges(ranges, gap);
      t.deepEqual(mergeRanges(merged, gap), merged);
    }),
  );
});

// isStored

test('isStored() leaves out what the kernel makes anew', t => {
  for (const kind of ['vvar', 'vdso', 'vsyscall'] as const) t.false(isStored(regionOf(BASE, 1, { kind })));
  t.false(isStored(regionOf(BASE, 1, { flags: new Set(['wf']) })));
  for (const kind of ['heap', 'stack', 'module-text', 'anonymous'] as const) {
    t.true(isStored(regionOf(BASE, 1, { kind })));
  }
});

// planSpans

const pageOf = (byte: number): Uint8Array => new Uint8Array(PAGE).fill(byte);

test('planSpans() gives touched stretches consecutive room, and joins near ones', t => {
  const region = regionOf(BASE, 4000);
  const touched = [3, 4, 4 + MERGE + 1, 4 + MERGE + 1 + MERGE + 2];
  const pages = new Map(touched.map(page => [BASE + BigInt(page * PAGE), pageOf(1)]));
  const spans = planSpans(imageOf({ memory: pagesMemory(pages) }), [region], PAGE);
  t.deepEqual(
    spans.map(({ address, size, fileOffset }) => [
      Number(address - BASE) / PAGE,
      size / PAGE,
      fileOffset / PAGE,
    ]),
    [
      [3, 2 + MERGE + 1, 1],
      [4 + MERGE + 1 + MERGE + 2, 1, 1 + 2 + MERGE + 1],
    ],
  );
});

test('planSpans() does not join stretches of two regions', t => {
  const regions = [regionOf(BASE, 2), regionOf(BASE + BigInt(2 * PAGE), 2)];
  const pages = new Map([1, 2].map(page => [BASE + BigInt(page * PAGE), pageOf(1)]));
  const spans = planSpans(imageOf({ memory: pagesMemory(pages) }), regions, 0);
  t.deepEqual(
    spans.map(({ region, fileOffset }) => [region, fileOffset]),
    [
      [regions[0], 0],
      [regions[1], PAGE],
    ],
  );
});

// storeSpans

/** Streams these pages of a region into a file; what `planSpans` makes of them, and what was read. */
async function store(pages: ReadonlyMap<number, Uint8Array>, size: number, name: string) {
  const region = regionOf(BASE, size);
  const read: number[] = [];
  const memory = pagesMemory(
    new Map([...pages].map(([page, bytes]) => [BASE + BigInt(page * PAGE), bytes])),
    page => read.push(Number(page - BASE) / PAGE),
  );
  const image = imageOf({ regions: [region], memory });
  const path = join(directory, name);
  const file = await open(path, 'w+');
  const progress: number[] = [];
  let spans: StoredSpan[];
  let bytes: Buffer;
  try {
    const planned = planSpans(image, [region], PAGE);
    spans = await storeSpans(image, planned, file, done => progress.push(done));
    await file.truncate(PAGE + planned.reduce((sum, span) => sum + span.size, 0));
    bytes = await file.readFile();
  } finally {
    await file.close();
  }
  return { spans, read, bytes, path, progress };
}

test('storeSpans() writes every page to its place, and says which are not zero', async t => {
  const page = fc.tuple(fc.nat({ max: 1500 }), fc.nat({ max: 3 }));
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(page, { maxLength: 12, selector: ([at]) => at }), async given => {
      const pages = new Map(given.sort(([a], [b]) => a - b).map(([at, byte]) => [at, pageOf(byte)]));
      const { spans, bytes } = await store(pages, 1600, `any-${count++}`);
      const found = new Map<number, number>();
      for (const span of spans) {
        for (const at of pagesOf(span.runs)) {
          const offset = span.fileOffset + at * PAGE;
          const content = bytes.subarray(offset, offset + PAGE);
          t.true(content.every(byte => byte === content[0]));
          found.set(Number(span.address - BASE) / PAGE + at, content[0] ?? 0);
        }
      }
      t.deepEqual(
        [...found].sort(([a], [b]) => a - b),
        given.filter(([, byte]) => byte !== 0),
      );
    }),
    { numRuns: 25 },
  );
});

test('storeSpans() never writes a page of zeros: it is a hole of the file', async t => {
  const pages = new Map(Array.from({ length: 1000 }, (_, i) => [i, pageOf(i % 100 === 0 ? 7 : 0)]));
  const { path, spans } = await store(pages, 1000, 'holes');
  t.is(spans.length, 1);
  t.is(pagesOf(spans[0]?.runs ?? []).length, 10);
  const { size, blocks } = statSync(path);
  t.is(size, 1001 * PAGE);
  t.true(blocks * 512 <= 20 * PAGE, `${blocks * 512} bytes are on the disk`);
});

test('storeSpans() does not read pages far from those that were touched', async t => {
  const { read } = await store(
    new Map([
      [5, pageOf(1)],
      [6, pageOf(0)],
      [90_000, pageOf(2)],
    ]),
    1_000_000,
    'untouched',
  );
  t.deepEqual(read, [5, 6, 90_000]);
});

test('storeSpans() reads no page twice', async t => {
  const pages = new Map(Array.from({ length: 700 }, (_, i) => [i * 3, pageOf(i & 1)]));
  const { read } = await store(pages, 4000, 'once');
  t.is(new Set(read).size, read.length);
});

test('storeSpans() reports each chunk, up to the bytes of all spans', async t => {
  const pages = new Map(Array.from({ length: 600 }, (_, i) => [i, pageOf(1)]));
  const { progress } = await store(pages, 600, 'progress');
  t.deepEqual(progress, [1 << 20, 2 << 20, 600 * PAGE]);
});

test('storeSpans() joins pages across its chunks into one run', async t => {
  const pages = new Map(Array.from({ length: 600 }, (_, i) => [i, pageOf(1)]));
  const { spans } = await store(pages, 600, 'runs');
  t.deepEqual(
    spans.map(({ runs }) => runs),
    [[{ first: 0, count: 600 }]],
  );
});

test('storeSpans() passes on an error of writing, and does not hang', async t => {
  const path = join(directory, 'read-only');
  await (await open(path, 'w')).close();
  const file = await open(path, 'r');
  const pages = new Map(Array.from({ length: 3000 }, (_, i) => [i, pageOf(1)]));
  const region = regionOf(BASE, 3000);
  const memory = pagesMemory(new Map([...pages].map(([at, bytes]) => [BASE + BigInt(at * PAGE), bytes])));
  const image = imageOf({ regions: [region], memory });
  try {
    const spans = planSpans(image, [region], 0);
    await t.throwsAsync(
      storeSpans(image, spans, file, () => {}),
      { code: 'EBADF' },
    );
  } finally {
    await file.close();
  }
});

test('storeSpans() passes on an error of reading', async t => {
  const file = await open(join(directory, 'unreadable'), 'w');
  const region = regionOf(BASE, 10);
  const memory = {
    touched: () => [{ first: 0, count: 10 }],
    read: () => {
      throw new Error('the process is gone');
    },
  };
  const image = imageOf({ regions: [region], memory });
  try {
    const stored = storeSpans(image, planSpans(image, [region], 0), file, () => {});
    await t.throwsAsync(stored, { message: 'the process is gone' });
  } finally {
    await file.close();
  }
});

// storeObject

test('storeObject() stores contents of any size, read in any pieces', async t => {
  const lengths = fc.integer({ min: 0, max: 3 << 20 });
  let count = 0;
  await fc.assert(
    fc.asyncProperty(
      lengths,
      fc.integer({ min: 1, max: 100_000 }),
      fc.nat(9000),
      async (size, piece, around) => {
        const contents = new Uint8Array(size);
        for (let at = 0; at < size; at += 50_000) contents[at] = (at / 50_000 + 1) & 0xff;
        // What lies between the parts is zero, and is not to be read.
        const parts = [...contents.keys()]
          .filter(at => contents[at] !== 0)
          .map(at => ({
            offset: Math.max(0, at - around),
            size: Math.min(size, at + 1 + around) - Math.max(0, at - around),
          }));
        const path = join(directory, `object-${count++}`);
        const file = await open(path, 'w+');
        try {
          const stored = await storeObject(
            {
              key: '7',
              name: 'memfd:x',
              size,
              stretches: () => parts,
              read: (offset, into) => {
                const part = contents.subarray(offset, offset + Math.min(piece, into.length));
                into.set(part);
                return part.length;
              },
            },
            2 * PAGE,
            file,
          );
          await file.truncate(2 * PAGE + size);
          t.true((await file.readFile()).subarray(2 * PAGE).equals(contents));
          const nonZero = new Set(
            [...contents.keys()].filter(at => contents[at] !== 0).map(at => Math.floor(at / PAGE)),
          );
          t.deepEqual(pagesOf(stored.runs), [...nonZero]);
          t.like(stored, { key: '7', name: 'memfd:x', size, fileOffset: 2 * PAGE });
        } finally {
          await file.close();
        }
      },
    ),
    { numRuns: 10 },
  );
});

test('storeObject() stores zeros for a file that was cut off meanwhile', async t => {
  const file = await open(join(directory, 'cut-off'), 'w');
  try {
    const read = (offset: number, into: Uint8Array): number => {
      if (offset >= PAGE) return 0;
      into.fill(9, 0, PAGE);
      return PAGE;
    };
    const stored = await storeObject(
      { key: '1', name: '', size: 5 * PAGE, stretches: () => [{ offset: 0, size: 5 * PAGE }], read },
      0,
      file,
    );
    t.deepEqual(stored.runs, [{ first: 0, count: 1 }]);
  } finally {
    await file.close();
  }
});
