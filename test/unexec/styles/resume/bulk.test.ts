import test from 'ava';
import fc from 'fast-check';
import { endOf, PAGE, PAGE_BIG, type PageRange, type Region } from '../../../../unexec/image.ts';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import {
  BLOCK,
  blockOf,
  blockSteps,
  chooseBlocks,
  cutAtBlocks,
  mayBeBulk,
  trimSteps,
} from '../../../../unexec/styles/resume/bulk.ts';
import type { StoredSpan } from '../../../../unexec/styles/resume/contents.ts';
import { NR, type SystemCall } from '../../../../unexec/styles/resume/system-calls.ts';
import { regionOf } from '../../../support/synthetic-view.ts';

const BASE = 0x7000_0000_0000n;
const BLOCK_BIG = BigInt(BLOCK);
const BLOCK_PAGES = BLOCK / PAGE;

const spanOf = (region: Region, runs: readonly PageRange[]): StoredSpan => ({
  region,
  address: region.start,
  size: region.size,
  fileOffset: 0,
  runs,
});

const touch = (region: Region, written: number, read = 0) => ({
  region,
  written: written === 0 ? [] : [{ first: 0, count: written }],
  read: read === 0 ? [] : [{ first: written, count: read }],
});

// chooseBlocks

test('chooseBlocks() takes a block when the page faults that it saves cost more', t => {
  const region = regionOf(BASE, BLOCK_PAGES);
  const counts = Array.from({ length: BLOCK_PAGES + 1 }, (_, written) => written);
  const chosen = counts.map(written => chooseBlocks([region], [], [touch(region, written)]).size === 1);
  const least = chosen.indexOf(true);
  t.true(least > 10 && least < 100, `from ${least} pages on`);
  t.deepEqual(
    chosen,
    counts.map(written => written >= least),
    'more pages never make it worse',
  );
});

test('chooseBlocks() wants more written pages where more is stored', t => {
  const region = regionOf(BASE, BLOCK_PAGES);
  const least = (stored: number): number => {
    const spans = [spanOf(region, [{ first: 0, count: stored }])];
    for (let written = 0; written <= BLOCK_PAGES; written++) {
      if (chooseBlocks([region], spans, [touch(region, written)]).size === 1) return written;
    }
    return Number.POSITIVE_INFINITY;
  };
  t.true(least(10) < least(200));
  t.true(least(200) < least(BLOCK_PAGES));
  t.true(least(BLOCK_PAGES) < BLOCK_PAGES, 'a block that is written as a whole is always worth it');
});

test('chooseBlocks() takes no block for pages that were only read', t => {
  const region = regionOf(BASE, BLOCK_PAGES);
  const spans = [spanOf(region, [{ first: 0, count: BLOCK_PAGES }])];
  t.is(chooseBlocks([region], spans, [touch(region, 0, BLOCK_PAGES)]).size, 0);
});

test('chooseBlocks() adds up the pages of all regions in a block', t => {
  const regions = [0, 1, 2].map(i => regionOf(BASE + BigInt(i) * 100n * PAGE_BIG, 20));
  t.is(
    chooseBlocks(
      regions,
      [],
      regions.slice(0, 1).map(region => touch(region, 20)),
    ).size,
    0,
  );
  t.deepEqual(
    [
      ...chooseBlocks(
        regions,
        [],
        regions.map(region => touch(region, 20)),
      ),
    ],
    [BASE],
  );
});

test('chooseBlocks() tells the blocks of a range apart, and sorts them', t => {
  const region = regionOf(BASE + 100n * PAGE_BIG, 4 * BLOCK_PAGES);
  const written = [
    { first: 3 * BLOCK_PAGES, count: 300 }, // in block 3, by 212 pages, and block 4 by 88
    { first: BLOCK_PAGES - 101, count: 2 },
    { first: 2, count: 200 },
  ];
  const chosen = chooseBlocks([region], [], [{ region, written, read: [] }]);
  t.deepEqual(
    [...chosen].map(block => (block - BASE) / BLOCK_BIG),
    [0n, 3n],
  );
  const more = [{ first: 3 * BLOCK_PAGES, count: 100 + BLOCK_PAGES }];
  t.deepEqual(
    [...chooseBlocks([region], [], [{ region, written: more, read: [] }])].map(
      block => (block - BASE) / BLOCK_BIG,
    ),
    [3n, 4n],
  );
});

const natures: readonly [what: string, facts: Partial<Region>][] = [
  ['code', { write: false, execute: true }],
  ['code that is written', { execute: true }],
  ['read-only memory', { write: false }],
  ['shared memory', { shared: true }],
  ['a stack', { flags: new Set(['gd']) }],
  ['memory without reserve', { flags: new Set(['nr']) }],
  ['memory that wants no huge pages', { flags: new Set(['nh']) }],
  ['locked memory', { flags: new Set(['lo']) }],
  ['memory that a fork wipes', { flags: new Set(['wf']) }],
  ['the vdso', { kind: 'vdso' }],
];

for (const [what, facts] of natures) {
  test(`chooseBlocks() takes no block for ${what}`, t => {
    const region = regionOf(BASE, BLOCK_PAGES, facts);
    t.false(mayBeBulk(region));
    t.is(chooseBlocks([region], [], [touch(region, BLOCK_PAGES)]).size, 0);
  });
}

test('chooseBlocks() takes no block that a stack or the vdso lies in, wherever in it', t => {
  const region = regionOf(BASE + 100n * PAGE_BIG, 300);
  for (const facts of [{ flags: new Set(['gd']) }, { kind: 'vdso' }, { kind: 'vvar' }] as const) {
    for (const [start, free] of [
      [BASE - PAGE_BIG, true],
      [BASE, false],
      [endOf(region), false],
      [BASE + BLOCK_BIG - PAGE_BIG, false],
      [BASE + BLOCK_BIG, true],
    ] as const) {
      const other = regionOf(start, 1, facts);
      t.is(chooseBlocks([region, other], [], [touch(region, 300)]).size, free ? 1 : 0, start.toString(16));
    }
  }
});

// cutAtBlocks

test('cutAtBlocks() cuts a region into stretches that alternate and cover it', t => {
  const someBlocks = fc.uniqueArray(fc.nat({ max: 5 }), { maxLength: 6 });
  fc.assert(
    fc.property(
      fc.nat({ max: 1000 }),
      fc.integer({ min: 1, max: 2000 }),
      someBlocks,
      (gap, pages, numbers) => {
        const region = regionOf(BASE + BigInt(gap * PAGE), pages);
        const blocks = new Set(numbers.map(number => BASE + BigInt(number) * BLOCK_BIG));
        const stretches = cutAtBlocks(region, blocks);
        t.is(stretches[0]?.start, region.start);
        for (const [i, { start, size, inBlock }] of stretches.entries()) {
          t.true(size > 0);
          const next = stretches[i + 1];
          t.is(start + BigInt(size), next?.start ?? endOf(region));
          if (next !== undefined) t.is(next.inBlock, !inBlock);
          for (let page = start; page < start + BigInt(size); page += PAGE_BIG) {
            if (blocks.has(blockOf(page)) !== inBlock) t.fail(`0x${page.toString(16)}`);
          }
        }
      },
    ),
  );
});

test('cutAtBlocks() leaves a region whole that is no bulk memory', t => {
  const region = regionOf(BASE, 2 * BLOCK_PAGES, { write: false });
  t.deepEqual(cutAtBlocks(region, new Set([BASE])), [{ start: BASE, size: region.size, inBlock: false }]);
});

test('blockOf() rounds down to 2 MiB', t => {
  t.is(blockOf(BASE), BASE);
  t.is(blockOf(BASE + BLOCK_BIG - 1n), BASE);
  t.is(blockOf(BASE + BLOCK_BIG), BASE + BLOCK_BIG);
});

// blockSteps and trimSteps: what they make of memory is tested with the mappings

const say = (program: RestoreProgram, nr: SystemCall): string[] =>
  program.steps
    .filter(step => step.nr === nr)
    .map(({ args }) => {
      const [start, size] = nr === NR.pread64 ? [args[1], args[2]] : [args[0], args[1]];
      return `${(BigInt(start as bigint) - BASE) / PAGE_BIG}+${Number(size) / PAGE}`;
    });

test('blockSteps() maps neighbours together, and asks for huge pages', t => {
  const program = new RestoreProgram('x86_64');
  const blocks = new Set([0n, 1n, 3n].map(i => BASE + i * BLOCK_BIG));
  blockSteps(program, blocks, [], program.slot());
  t.deepEqual(say(program, NR.mmap), [`0+${2 * BLOCK_PAGES}`, `${3 * BLOCK_PAGES}+${BLOCK_PAGES}`]);
  t.deepEqual(say(program, NR.madvise), say(program, NR.mmap));
});

test('blockSteps() reads what is stored, near pages with one call, and cuts at the edges of blocks', t => {
  const region = regionOf(BASE, 3 * BLOCK_PAGES);
  const program = new RestoreProgram('x86_64');
  const runs = [
    { first: 3, count: 2 },
    { first: 9, count: 1 }, // four pages further on
    { first: 15, count: 1 }, // five
    { first: BLOCK_PAGES - 2, count: BLOCK_PAGES + 4 },
  ];
  blockSteps(program, new Set([BASE, BASE + 2n * BLOCK_BIG]), [spanOf(region, runs)], program.slot());
  t.deepEqual(say(program, NR.pread64), ['3+7', '15+1', `${BLOCK_PAGES - 2}+2`, `${2 * BLOCK_PAGES}+2`]);
});

test('blockSteps() reads more than one call can with several', t => {
  const size = 1300; // blocks, 2.5 GiB
  const region = regionOf(BASE, size * BLOCK_PAGES);
  const program = new RestoreProgram('x86_64');
  const blocks = new Set(Array.from({ length: size }, (_, i) => BASE + BigInt(i) * BLOCK_BIG));
  blockSteps(program, blocks, [spanOf(region, [{ first: 0, count: region.size / PAGE }])], program.slot());
  const GIB = (1 << 30) / PAGE;
  const last = size * BLOCK_PAGES - 2 * GIB;
  t.deepEqual(say(program, NR.pread64), [`0+${GIB}`, `${GIB}+${GIB}`, `${2 * GIB}+${last}`]);
  const offsets = program.steps.filter(({ nr }) => nr === NR.pread64).map(({ args }) => args[3]);
  t.deepEqual(offsets, [0, 1 << 30, 2 * 2 ** 30]);
});

test('trimSteps() unmaps the parts of blocks that no region has', t => {
  const program = new RestoreProgram('x86_64');
  const regions = [regionOf(BASE - 10n * PAGE_BIG, 13), regionOf(BASE + 8n * PAGE_BIG, 600)];
  trimSteps(program, new Set([BASE, BASE + BLOCK_BIG]), regions);
  t.deepEqual(say(program, NR.munmap), ['3+5', `608+${2 * BLOCK_PAGES - 608}`]);
});
