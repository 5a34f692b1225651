import test from 'ava';
import {
  CPU_TYPE,
  type MachOFile,
  type MachOSection,
  MH,
  newMachO,
  newSection,
  newSegment,
  S,
  type SegmentCommand,
  SG,
} from '../../../../formats/macho/index.ts';
import { type Heap, placeSegments } from '../../../../unexec/styles/restart-macho/segments.ts';
import { dumpedSegments, isDumped } from '../../../../unexec/styles/restart-macho/territory.ts';
import { BLOCKS_OFFSET } from '../../../../unexec/zones/reserve.ts';

const PAGE = 0x1000;
const BASE = 0x1_0000_0000n;
const [READ, WRITE] = [1, 2];

const sectionAt = (
  sectname: string,
  addr: number,
  size: number,
  type: number = S.S_REGULAR,
  offset = addr,
): MachOSection =>
  newSection({
    sectname,
    segname: '__DATA',
    addr: BASE + BigInt(addr),
    size: BigInt(size),
    offset: type === S.S_REGULAR ? offset : 0,
    flags: type,
  });

/** A segment whose file offset is its address, less that of the header. */
const segment = (
  segname: string,
  at: number,
  filesize: number,
  vmsize: number,
  rest: Partial<SegmentCommand> = {},
): SegmentCommand =>
  newSegment({
    segname,
    vmaddr: BASE + BigInt(at),
    vmsize: BigInt(vmsize),
    fileoff: at,
    filesize,
    initprot: READ | WRITE,
    maxprot: READ | WRITE,
    ...rest,
  });

const text = segment('__TEXT', 0, 0x4000, 0x4000, { initprot: READ });
const linkedit = segment('__LINKEDIT', 0x80_0000, 0x100, PAGE, { initprot: READ });

const fileOf = (...segments: SegmentCommand[]): MachOFile => ({
  ...newMachO({ cputype: CPU_TYPE.CPU_TYPE_X86_64, filetype: MH.MH_EXECUTE }),
  commands: [text, ...segments, linkedit],
});

/** Places the segments; `contents` are the bytes of each dumped segment up to the last that is not zero. */
function place(file: MachOFile, contents: Readonly<Record<string, number>>, heap?: Heap) {
  const reserve = heap && { base: heap.base, size: heap.size };
  const dumped = dumpedSegments(file, reserve, heap?.highWater ?? 0, () => []);
  const placed = placeSegments(file, dumped, heap, ({ segment }) => contents[segment.segname] ?? 0, PAGE);
  return placed
    .filter(({ after }) => after.segname !== '__TEXT')
    .map(({ after: { segname, fileoff, filesize, vmsize, sections } }) => ({
      segname,
      fileoff,
      filesize,
      vmsize: Number(vmsize),
      sections: sections.map(({ sectname, size, offset, flags }) => [
        sectname,
        Number(size),
        offset,
        flags & 0xff,
      ]),
    }));
}

const data = () =>
  segment('__DATA', 0x4000, 0x1000, 0x9000, {
    sections: [
      sectionAt('__data', 0x4000, 0x800),
      sectionAt('__thread_bss', 0x4800, 0x100, S.S_THREAD_LOCAL_ZEROFILL),
      sectionAt('__bss', 0x5000, 0x3000, S.S_ZEROFILL),
      sectionAt('__huge', 0x8000, 0x5000, S.S_GB_ZEROFILL),
    ],
  });

test('a segment that has nothing new keeps its place and its zero-fill', t => {
  t.deepEqual(place(fileOf(data()), { __DATA: 0x700 }), [
    {
      segname: '__DATA',
      fileoff: 0x4000,
      filesize: 0x1000,
      vmsize: 0x9000,
      sections: [
        ['__data', 0x800, 0x4000, S.S_REGULAR],
        ['__thread_bss', 0x100, 0, S.S_THREAD_LOCAL_ZEROFILL],
        ['__bss', 0x3000, 0, S.S_ZEROFILL],
        ['__huge', 0x5000, 0, S.S_GB_ZEROFILL],
      ],
    },
  ]);
});

test('a zero-fill section that was written to is in the file, whole; what lies behind it stays', t => {
  t.deepEqual(place(fileOf(data()), { __DATA: 0x1001 }), [
    {
      segname: '__DATA',
      fileoff: 0x4000,
      filesize: 0x4000,
      vmsize: 0x9000,
      sections: [
        ['__data', 0x800, 0x4000, S.S_REGULAR],
        ['__thread_bss', 0x100, 0, S.S_THREAD_LOCAL_ZEROFILL],
        ['__bss', 0x3000, 0x5000, S.S_REGULAR],
        ['__huge', 0x5000, 0, S.S_GB_ZEROFILL],
      ],
    },
  ]);
  const [{ filesize, sections } = { filesize: 0, sections: [] }] = place(fileOf(data()), { __DATA: 0x8fff });
  t.is(filesize, 0x9000);
  t.deepEqual(sections[3], ['__huge', 0x5000, 0x8000, S.S_REGULAR]);
});

test('segments behind one that has grown move, and their sections with them', t => {
  const second = segment('__MORE', 0xd000, 0x1000, 0x1000, {
    sections: [sectionAt('__more', 0xd000, 0x10, S.S_REGULAR, 0x5000)],
  });
  second.fileoff = 0x5000;
  const third = segment('__EMPTY', 0xe000, 0, 0x1000);
  third.fileoff = 0x6000;
  const placed = place(fileOf(data(), second, third), { __DATA: 0x9000 });
  t.deepEqual(
    placed.map(({ fileoff, filesize }) => [fileoff, filesize]),
    [
      [0x4000, 0x9000],
      [0xd000, 0x1000],
      [0x6000, 0],
    ],
  );
  t.deepEqual(placed[1]?.sections, [['__more', 0x10, 0xd000, S.S_REGULAR]]);
});

const HEAP = BASE + 0x1_0000n;
const heapOf = (highWater: number): Heap => ({ base: HEAP, size: 0x10_0000, highWater });
const ownSegment = () =>
  segment('__DATA_HEAP', 0x1_0000, 0, 0x10_0000, {
    sections: [sectionAt('__heap', 0x1_0000 + BLOCKS_OFFSET, 0x10_0000 - BLOCKS_OFFSET, S.S_ZEROFILL)],
  });

/** High water, last byte that is not zero, and what the heap takes in the file. */
const heaps: readonly (readonly [what: string, highWater: number, contents: number, filesize: number])[] = [
  ['a zone that was never started', 0, 0, 0],
  ['an empty zone, whose notes must be there', BLOCKS_OFFSET, 0x200, BLOCKS_OFFSET],
  ['a zone with one block', BLOCKS_OFFSET + 0x30, BLOCKS_OFFSET + 0x28, BLOCKS_OFFSET + PAGE],
  ['a zone whose last blocks are zero', 0x9800, 0x5001, 0xa000],
  ['a full one', 0x10_0000, 0x10_0000, 0x10_0000],
];
for (const [what, highWater, contents, filesize] of heaps) {
  test(`the reserve of its own segment is in the file up to the high water of ${what}`, t => {
    const [, heap] = place(fileOf(data(), ownSegment()), { __DATA_HEAP: contents }, heapOf(highWater));
    const stored = Math.max(0, filesize - BLOCKS_OFFSET);
    const section = ['__heap', stored, 0x1_0000 + BLOCKS_OFFSET, S.S_REGULAR];
    const zeroFill = ['__heap', 0x10_0000 - BLOCKS_OFFSET, 0, S.S_ZEROFILL];
    t.like(heap, { filesize, vmsize: 0x10_0000 });
    t.deepEqual(heap?.sections, [stored > 0 ? section : zeroFill]);
  });

  test(`the reserve at the end of a segment is in the file up to the high water of ${what}`, t => {
    const extended = data();
    extended.vmsize = 0xc000n + 0x10_0000n;
    extended.sections = [
      sectionAt('__data', 0x4000, 0x800),
      sectionAt('__bss', 0x5000, 0xb000 + 0x10_0000, S.S_ZEROFILL),
    ];
    const lead = 0xc000;
    const inMemory = contents === 0 ? 0x1001 : lead + contents;
    const [grown] = place(fileOf(extended), { __DATA: inMemory }, heapOf(highWater));
    t.like(grown, { filesize: lead + filesize, vmsize: lead + 0x10_0000 });
    t.deepEqual(grown?.sections[1], ['__bss', lead - 0x1000 + filesize, 0x5000, S.S_REGULAR]);
  });
}

test('a heap behind a section with bytes makes that section longer, and one behind thread-local zeros has none', t => {
  const regular = segment('__DATA', 0x4000, 0x1000, 0xc000 + 0x10_0000, {
    sections: [sectionAt('__data', 0x4000, 0x1000)],
  });
  const [grown] = place(fileOf(regular), { __DATA: 0xc000 + 0x4800 }, heapOf(0x4800));
  t.like(grown, { filesize: 0x1_1000 });
  t.deepEqual(grown?.sections, [['__data', 0x1_1000, 0x4000, S.S_REGULAR]]);

  const local = segment('__DATA', 0x4000, 0x1000, 0xc000 + 0x10_0000, {
    sections: [
      sectionAt('__data', 0x4000, 0x800),
      sectionAt('__thread_bss', 0x4800, 0x800, S.S_THREAD_LOCAL_ZEROFILL),
    ],
  });
  const [kept] = place(fileOf(local), { __DATA: 0xc000 + 0x4800 }, heapOf(0x4800));
  t.deepEqual(kept?.sections, [
    ['__data', 0x800, 0x4000, S.S_REGULAR],
    ['__thread_bss', 0x800, 0, S.S_THREAD_LOCAL_ZEROFILL],
  ]);
});

test('a segment of no whole number of pages is rounded up, in memory too', t => {
  const odd = segment('__DATA', 0x4000, 0x123, 0x234, { sections: [sectionAt('__data', 0x4000, 0x123)] });
  t.like(place(fileOf(odd), { __DATA: 0x123 })[0], { filesize: 0x1000, vmsize: 0x1000 });
});

test('a file of 4 GiB is refused', t => {
  const large = segment('__DATA', 0x4000, 0x1000, 0x1_0000_0000, {
    sections: [sectionAt('__bss', 0x5000, 0xffff_f000, S.S_ZEROFILL)],
  });
  t.throws(() => place(fileOf(large), { __DATA: 0x2000 }), {
    code: 'IMAGE_TOO_LARGE',
    message: /segment __DATA would end at 0x100004000 in the file/,
  });
});

test('writable segments are dumped, but for what dyld makes read-only and __LINKEDIT', t => {
  t.true(isDumped(data()));
  t.false(isDumped(text));
  t.false(isDumped({ ...data(), flags: SG.SG_READ_ONLY }));
  t.false(isDumped({ ...data(), vmsize: 0n }));
  t.false(isDumped({ ...linkedit, initprot: READ | WRITE }));
});

test('what the loader fills is kept from the file, and so are words that it binds', t => {
  const types = [
    S.S_NON_LAZY_SYMBOL_POINTERS,
    S.S_LAZY_SYMBOL_POINTERS,
    S.S_MOD_INIT_FUNC_POINTERS,
    S.S_THREAD_LOCAL_VARIABLES,
  ];
  const sections = [
    sectionAt('__data', 0x4000, 0x100),
    ...types.map((type, i) => sectionAt(`__own${i}`, 0x4100 + i * 0x20, 0x10, type)),
  ];
  const file = fileOf(segment('__DATA', 0x4000, 0x1000, 0x1000, { sections }));
  const [dumped] = dumpedSegments(file, undefined, 0, index => (index === 1 ? [0x40, 0x0f8] : []));
  t.deepEqual(dumped?.kept, [
    { start: 0x40, end: 0x48 },
    { start: 0xf8, end: 0x110 },
    { start: 0x120, end: 0x130 },
    { start: 0x140, end: 0x150 },
    { start: 0x160, end: 0x170 },
  ]);
});
