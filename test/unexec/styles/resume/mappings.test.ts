import test from 'ava';
import fc from 'fast-check';
import { nonZeroPages } from '../../../../unexec/elide.ts';
import { endOf, PAGE, PAGE_BIG, type PageRange, type Region } from '../../../../unexec/image.ts';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { blockOf, blockSteps, chooseBlocks, trimSteps } from '../../../../unexec/styles/resume/bulk.ts';
import { planSpans, type StoredSpan } from '../../../../unexec/styles/resume/contents.ts';
import { discardableRegions, fillDiscardable } from '../../../../unexec/styles/resume/discarded-memory.ts';
import {
  isPrivate,
  type Mapping,
  mappingSteps,
  planMappings,
} from '../../../../unexec/styles/resume/mappings.ts';
import { type SimulatedMemory, simulate } from '../../../support/simulated-memory.ts';
import { imageOf, pagesMemory } from '../../../support/synthetic-image.ts';
import { regionOf } from '../../../support/synthetic-view.ts';

const MAP_ANONYMOUS = 0x20;
const MAP_GROWSDOWN = 0x100;
const MAP_NORESERVE = 0x4000;
/** Below a block's edge by some pages, so that regions lie across edges. */
const BASE = 0x7000_0000_0000n - 300n * PAGE_BIG;
const HOLE = 512;

/** A region that is to be, and what is in it. */
interface Piece {
  /** Pages between the region before it and this one. */
  readonly gap: number;
  readonly pages: number;
  readonly facts: Partial<Region>;
  /** Touched pages and the byte that each is filled with. */
  readonly contents: readonly (readonly [page: number, byte: number])[];
  /** Pages that a training run touched. */
  readonly touched: readonly PageRange[];
}

const anyPiece: fc.Arbitrary<Piece> = fc
  .record({
    gap: fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 1, max: 700 })),
    pages: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 2000 })),
    kind: fc.constantFrom(
      'rw',
      'rw',
      'rw',
      'rx',
      'r',
      'none',
      'stack',
      'guard',
      'noreserve',
      'wipe',
      'rwx',
      'vvar',
    ),
    contents: fc.array(fc.tuple(fc.nat({ max: 1999 }), fc.integer({ min: 0, max: 9 })), { maxLength: 20 }),
    touched: fc.array(fc.tuple(fc.nat({ max: 1999 }), fc.integer({ min: 1, max: 400 })), { maxLength: 3 }),
  })
  .map(({ gap, pages, kind, contents, touched }) => ({
    gap,
    pages,
    facts: factsOf(kind),
    contents: contents.filter(([page]) => page < pages),
    touched: touched
      .filter(([first]) => first < pages)
      .map(([first, count]) => ({ first, count: Math.min(count, pages - first) })),
  }));

function factsOf(kind: string): Partial<Region> {
  const mode = (read: boolean, write: boolean, execute: boolean) => ({ read, write, execute });
  switch (kind) {
    case 'rx':
      return { ...mode(true, false, true), kind: 'module-text', name: '/lib/x.so' };
    case 'r':
      return mode(true, false, false);
    case 'rwx':
      return mode(true, true, true);
    case 'none':
      return mode(false, false, false);
    case 'stack':
      return { kind: 'stack', name: '[stack]', flags: new Set(['gd']) };
    case 'guard':
      return { ...mode(true, false, false), kind: 'stack', name: '[stack]', flags: new Set(['gd']) };
    case 'noreserve':
      return { flags: new Set(['nr', 'hg']) };
    case 'wipe':
      return { flags: new Set(['wf']) };
    case 'vvar':
      return { ...mode(true, false, false), kind: 'vvar', name: '[vvar]' };
    default:
      return {};
  }
}

/** The regions, their pages, and the image's file as `storeSpans` would write it. */
function build(pieces: readonly Piece[]) {
  const regions: Region[] = [];
  const pages = new Map<bigint, Uint8Array>();
  let at = BASE;
  const touched = pieces.map(piece => {
    const region = regionOf(at + BigInt(piece.gap * PAGE), piece.pages, piece.facts);
    regions.push(region);
    at = endOf(region);
    for (const [page, byte] of piece.contents) {
      pages.set(region.start + BigInt(page * PAGE), new Uint8Array(PAGE).fill(byte));
    }
    return { region, written: piece.touched, read: [] };
  });
  const memory = pagesMemory(pages);
  const image = imageOf({ regions, memory });
  const stored = regions.filter(({ kind, flags }) => kind !== 'vvar' && !flags.has('wf'));
  const planned = planSpans(image, stored, PAGE);
  const file = new Uint8Array(planned.reduce((sum, { size }) => sum + size, PAGE));
  const spans = planned.map((span): StoredSpan => {
    const bytes = file.subarray(span.fileOffset, span.fileOffset + span.size);
    memory.read(span.address, bytes);
    return { ...span, runs: nonZeroPages(bytes) };
  });
  return { image, regions, pages, spans, file, touched };
}

type Built = ReturnType<typeof build>;

function resume({ image, regions, spans, file, touched }: Built, train: boolean) {
  const program = new RestoreProgram('x86_64');
  const self = program.slot();
  const blocks = train ? chooseBlocks(regions, spans, touched) : new Set<bigint>();
  // Some of the regions are such that they must be anonymous.
  const filled = new Set([...discardableRegions(image)].filter((_, i) => i % 2 === 1));
  const mappings = planMappings(image, spans, blocks, filled);
  blockSteps(program, blocks, spans, self);
  mappingSteps(program, image, mappings, spans, self);
  fillDiscardable(program, filled, spans, blocks, self);
  trimSteps(program, blocks, regions);
  return { memory: simulate(program, file, self), mappings, blocks };
}

/** What is wrong with the memory that came of it, in words. */
function differences({ regions, pages }: Built, memory: SimulatedMemory): string[] {
  const wrong: string[] = [];
  const left = new Map(memory);
  for (const region of regions) {
    if (region.kind === 'vvar') continue;
    const protection = (region.read ? 1 : 0) | (region.write ? 2 : 0) | (region.execute ? 4 : 0);
    for (let page = region.start; page < endOf(region); page += PAGE_BIG) {
      const found = left.get(page);
      left.delete(page);
      const where = `0x${page.toString(16)}, page ${(page - region.start) / PAGE_BIG} of ${region.kind}`;
      const wanted = region.flags.has('wf') ? 0 : (pages.get(page)?.[0] ?? 0);
      if (found === undefined) {
        wrong.push(`${where} is not mapped`);
        continue;
      }
      if (found.protection !== protection) wrong.push(`${where} has protection ${found.protection}`);
      if (!filledPage(wanted).equals(found.contents)) wrong.push(`${where} holds ${found.contents[0]}`);
      if (((found.flags & MAP_NORESERVE) !== 0) !== region.flags.has('nr')) wrong.push(`${where}: NORESERVE`);
      if (((found.flags & MAP_GROWSDOWN) !== 0) !== region.flags.has('gd')) wrong.push(`${where}: GROWSDOWN`);
    }
  }
  for (const page of left.keys()) wrong.push(`0x${page.toString(16)} is mapped, and belongs to no region`);
  return wrong;
}

const filledPages = Array.from({ length: 10 }, (_, byte) => Buffer.alloc(PAGE, byte));
const filledPage = (byte: number): Buffer => filledPages[byte] ?? Buffer.alloc(PAGE, byte);

for (const train of [false, true]) {
  test(`the mappings ${train ? 'and blocks ' : ''}of any regions make their memory again, and nothing else`, t => {
    let blocks = 0;
    fc.assert(
      fc.property(fc.array(anyPiece, { minLength: 1, maxLength: 8 }), pieces => {
        const built = build(pieces);
        const resumed = resume(built, train);
        blocks += resumed.blocks.size;
        const wrong = differences(built, resumed.memory);
        if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join('\n'));
      }),
      { numRuns: 400 },
    );
    t.is(blocks > 0, train);
  });
}

test('planMappings() maps no address twice, but for stored pages over fresh memory', t => {
  fc.assert(
    fc.property(fc.array(anyPiece, { minLength: 1, maxLength: 8 }), pieces => {
      const { mappings } = resume(build(pieces), false);
      const owner = new Map<bigint, Mapping>();
      for (const mapping of mappings) {
        for (let at = 0; at < mapping.size; at += PAGE) {
          const page = mapping.address + BigInt(at);
          const before = owner.get(page);
          owner.set(page, mapping);
          if (before === undefined) continue;
          const isOverlay = before.fileOffset === undefined && mapping.fileOffset !== undefined;
          if (!isOverlay || before.protection !== mapping.protection) {
            throw new Error(`0x${page.toString(16)} is mapped twice`);
          }
        }
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
});

test('planMappings() leaves no two mappings that could be one', t => {
  fc.assert(
    fc.property(fc.array(anyPiece, { minLength: 1, maxLength: 8 }), pieces => {
      const { mappings } = resume(build(pieces), false);
      for (const [i, mapping] of mappings.entries()) {
        const next = mappings[i + 1];
        if (next === undefined || mapping.address + BigInt(mapping.size) !== next.address) continue;
        const sameFile =
          mapping.fileOffset === undefined
            ? next.fileOffset === undefined
            : mapping.fileOffset + mapping.size === next.fileOffset;
        const same = mapping.protection === next.protection && mapping.flags === next.flags && sameFile;
        if (same && (mapping.flags & MAP_GROWSDOWN) === 0) throw new Error(`${mapping.name}, ${next.name}`);
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
});

// What is planned for a region, by an example each

const piece = (facts: Partial<Piece>): Piece => ({
  gap: 0,
  pages: 1,
  facts: {},
  contents: [],
  touched: [],
  ...facts,
});

/** `file 3+2` or `fresh 0+10`: pages from the start of all. */
const say = ({ address, size, flags, fileOffset }: Mapping): string =>
  `${fileOffset === undefined ? 'fresh' : 'file'} ${(address - BASE) / PAGE_BIG}+${size / PAGE}${
    ((flags & MAP_ANONYMOUS) !== 0) === (fileOffset === undefined) ? '' : ' with wrong flags'
  }`;

const filled = (...pages: number[]): [number, number][] => pages.map(page => [page, 1]);

const plans: readonly [title: string, pieces: readonly Piece[], expected: readonly string[]][] = [
  ['a region that was never touched is fresh memory', [piece({ pages: 9 })], ['fresh 0+9']],
  ['a region of zeros is fresh memory', [piece({ pages: 9, contents: [[3, 0]] })], ['fresh 0+9']],
  [
    'a region that is full is a mapping of the file',
    [piece({ pages: 2, contents: filled(0, 1) })],
    ['file 0+2'],
  ],
  [
    'a stretch in the middle is between two pieces of fresh memory',
    [piece({ pages: 9, contents: filled(3, 4) })],
    ['fresh 0+3', 'file 3+2', 'fresh 5+4'],
  ],
  [
    'a stretch at the start is followed by fresh memory',
    [piece({ pages: 9, contents: filled(0) })],
    ['file 0+1', 'fresh 1+8'],
  ],
  [
    'a stretch at the end follows fresh memory',
    [piece({ pages: 9, contents: filled(8) })],
    ['fresh 0+8', 'file 8+1'],
  ],
  [
    'near stretches are one mapping, zeros between them a hole of the file',
    [piece({ pages: HOLE + 2, contents: filled(0, HOLE + 1) })],
    [`file 0+${HOLE + 2}`],
  ],
  [
    'far stretches are mapped over fresh memory',
    [piece({ pages: HOLE + 3, contents: filled(0, HOLE + 2) })],
    [`fresh 0+${HOLE + 3}`, 'file 0+1', `file ${HOLE + 2}+1`],
  ],
  [
    'fresh neighbours with equal protection are one',
    [piece({ pages: 3 }), piece({ pages: 4 }), piece({ gap: 1, pages: 2 })],
    ['fresh 0+7', 'fresh 8+2'],
  ],
  [
    'stored neighbours with equal protection are one where their contents follow each other',
    [piece({ pages: 2, contents: filled(0, 1) }), piece({ pages: 1, contents: filled(0) })],
    ['file 0+3'],
  ],
  [
    'neighbours with other protection are two',
    [piece({ pages: 3 }), piece({ pages: 4, facts: factsOf('r') })],
    ['fresh 0+3', 'fresh 3+4'],
  ],
  [
    'a stack is fresh memory as a whole',
    [piece({ pages: 4, facts: factsOf('stack'), contents: filled(2, 3) }), piece({ pages: 2 })],
    ['fresh 0+4', 'fresh 4+2'],
  ],
  [
    'memory to be wiped by a fork is fresh',
    [piece({ pages: 4, facts: factsOf('wipe'), contents: filled(1) })],
    ['fresh 0+4'],
  ],
  ['what the kernel maps is left to it', [piece({ pages: 4, facts: factsOf('vvar') })], []],
];

for (const [title, pieces, expected] of plans) {
  test(`planMappings(): ${title}`, t => {
    const { image, spans } = build(pieces);
    t.deepEqual(planMappings(image, spans, new Set(), new Set()).map(say), expected);
  });
}

test('planMappings() does not join neighbours whose contents lie apart in the file', t => {
  const { image, spans } = build([
    piece({ pages: 2, contents: filled(0, 1) }),
    piece({ pages: 1, contents: filled(0) }),
  ]);
  const [first, second] = spans;
  t.true(first !== undefined && second !== undefined);
  if (first === undefined || second === undefined) return;
  const apart = [first, { ...second, fileOffset: second.fileOffset + PAGE }];
  t.deepEqual(planMappings(image, apart, new Set(), new Set()).map(say), ['file 0+2', 'file 2+1']);
});

test('planMappings() leaves out the parts of a region that lie in blocks', t => {
  const edge = blockOf(BASE) + (2n << 20n);
  const before = Number(edge - BASE) / PAGE;
  const { image, spans } = build([
    piece({ pages: before + 600, contents: filled(before - 1, before, before + 520) }),
  ]);
  t.deepEqual(planMappings(image, spans, new Set([edge]), new Set()).map(say), [
    `fresh 0+${before - 1}`,
    `file ${before - 1}+1`,
    `fresh ${before + 512}+8`,
    `file ${before + 520}+1`,
    `fresh ${before + 521}+79`,
  ]);
});

test('planMappings() keeps the guard of branch targets of aarch64 (PROT_BTI)', t => {
  const facts = { execute: true, write: false, flags: new Set(['bt']) };
  const image = imageOf({
    arch: 'aarch64',
    regions: [regionOf(BASE, 1, facts), regionOf(BASE + PAGE_BIG, 1)],
  });
  const protections = planMappings(image, [], new Set(), new Set()).map(({ protection }) => protection);
  t.deepEqual(protections, [0x15, 0x3]);
});

test('isPrivate() takes a shared mapping that nobody can write for a private one', t => {
  const shared = { shared: true, inode: 7, name: '/usr/lib/locale/locale-archive' };
  t.true(isPrivate(regionOf(BASE, 1)));
  t.true(isPrivate(regionOf(BASE, 1, { ...shared, write: false })));
  t.false(isPrivate(regionOf(BASE, 1, shared)));
  t.false(isPrivate(regionOf(BASE, 1, { ...shared, write: false, flags: new Set(['mw']) })));
  t.false(isPrivate(regionOf(BASE, 1, { ...shared, inode: 0, write: false })));
});
