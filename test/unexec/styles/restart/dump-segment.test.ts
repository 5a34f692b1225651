import { readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  DYLD_CHAINED_PTR_START,
  readChains,
  writeChainedBind,
  writeChainedRebase,
} from '../../../../formats/macho/index.ts';
import { viewOf } from '../../../../formats/struct.ts';
import {
  dumpSegment,
  plainPointers,
  type SegmentJob,
} from '../../../../unexec/styles/restart/dump-segment.ts';
import {
  type ChainEncoding,
  ChainWriter,
  chainedPages,
} from '../../../../unexec/styles/restart-macho/chain-writer.ts';
import type { SegmentFixups } from '../../../../unexec/styles/restart-macho/fixup-plan.ts';
import { sandbox } from '../../../support/sandbox.ts';
import { memoryOf } from '../../../support/synthetic-memory.ts';

const directory = sandbox('dump-segment');
const PAGE = 4096;
const CHUNK = 1 << 20;
const VMADDR = 0x1_0000_0000n;
const SLIDE = 0x2222_0000_0000n;
const FILEOFF = 3 * PAGE;
const BASE = 0x1_0000_0000n;

const NO_FIXUPS: SegmentFixups = {
  dumped: new Float64Array(),
  kept: new Float64Array(),
  bound: new Float64Array(),
  added: [],
};

/** What is in memory: a word at each of these offsets. */
function memoryWith(size: number, words: ReadonlyMap<number, bigint>) {
  const bytes = new Uint8Array(size);
  for (const [at, value] of words) viewOf(bytes).setBigUint64(at, value, true);
  return { reader: memoryOf([{ start: VMADDR + SLIDE, bytes }]).memory, address: VMADDR + SLIDE, size };
}

let files = 0;

/** Writes the segment; returns its bytes in the file. */
async function dump(
  {
    fixups = NO_FIXUPS,
    ...job
  }: Partial<SegmentJob> & Pick<SegmentJob, 'filesize' | 'memory'> & { readonly fixups?: SegmentFixups },
  chained?: ChainEncoding,
) {
  const path = join(directory, `file${files++}`);
  const handle = await open(path, 'w+');
  let progress = 0;
  const chain = chained && new ChainWriter(fixups, SLIDE, chained);
  const whole: SegmentJob = {
    fileoff: FILEOFF,
    contents: new Uint8Array(),
    kept: [],
    pointers: chain ?? plainPointers(fixups.dumped, SLIDE, job.memory),
    nulled: new Float64Array(),
    patches: [],
    ...job,
  };
  const stored = await dumpSegment(whole, handle, bytes => {
    progress += bytes;
  }).finally(async () => {
    await handle.truncate(Math.max(FILEOFF + job.filesize, (await handle.stat()).size));
    await handle.close();
  });
  const bytes = new Uint8Array(readFileSync(path)).slice(FILEOFF);
  return {
    path,
    bytes,
    view: viewOf(bytes),
    progress,
    stored,
    pageStarts: chain?.pageStarts ?? new Uint16Array(),
  };
}

const pointer = (offset: number): bigint => VMADDR + SLIDE + BigInt(offset);
const dumped = (...offsets: number[]): SegmentFixups => ({
  ...NO_FIXUPS,
  dumped: Float64Array.from(offsets),
});

/** Of plain words: in the middle, at the ends of chunks, and across them at every distance. */
for (const at of [0, 8, CHUNK - 8, CHUNK, 3 * CHUNK - 8, ...[1, 2, 3, 4, 5, 6, 7].map(part => CHUNK - part)])
  test(`a pointer at offset 0x${at.toString(16)} loses its slide`, async t => {
    const size = 3 * CHUNK;
    const before = at >= 16 ? at - 16 : at + 16;
    const memory = memoryWith(
      size,
      new Map([
        [at, pointer(0x1234) | (0xabn << 56n)],
        [before, pointer(0x99)],
      ]),
    );
    const { bytes, view, progress } = await dump({ filesize: size, memory, fixups: dumped(at) });
    t.is(bytes.length, size);
    t.is(view.getBigUint64(at, true), (VMADDR + 0x1234n) | (0xabn << 56n));
    t.is(view.getBigUint64(before, true), pointer(0x99)); // no pointer, whatever it looks like
    t.is(progress, size);
  });

test('pages of zeros are holes, and memory ends before the segment does', async t => {
  const memory = memoryWith(CHUNK, new Map([[5 * PAGE, 7n]]));
  const { path, bytes, stored } = await dump({ filesize: 4 * CHUNK, memory });
  t.is(stored, PAGE);
  t.is(statSync(path).blocks * 512, PAGE);
  t.is(
    bytes.findIndex(byte => byte !== 0),
    5 * PAGE,
  );
  t.is(bytes.length, 4 * CHUNK);
});

test('what is kept comes from the file, also where it has no bytes there, and over words that are null', async t => {
  const words = new Map([0, 8, 16, 24, PAGE, CHUNK - 8, CHUNK].map(at => [at, 0x1111_1111_1111_1111n]));
  const contents = new Uint8Array(CHUNK + 4).fill(0x22);
  const kept = [
    { start: 8, end: 16 },
    { start: CHUNK - 4, end: CHUNK + 8 }, // across the chunks, and beyond what the file has
  ];
  const nulled = Float64Array.of(16, PAGE - 4, CHUNK - 12);
  const memory = memoryWith(2 * CHUNK, words);
  const { view } = await dump({ filesize: 2 * CHUNK, memory, contents, kept, nulled });
  const [ones, twos] = [0x1111_1111, 0x2222_2222];
  const read = (at: number): number => view.getUint32(at, true);
  t.deepEqual([0, 4, 8, 12].map(read), [ones, ones, twos, twos]);
  t.deepEqual([16, 20, 24].map(read), [0, 0, ones]);
  t.deepEqual([PAGE - 4, PAGE, PAGE + 4].map(read), [0, 0, ones]);
  t.deepEqual([CHUNK - 12, CHUNK - 8, CHUNK - 4, CHUNK, CHUNK + 4].map(read), [0, 0, twos, twos, 0]);
});

test('patches are written last, also across chunks', async t => {
  const patches = [
    { offset: CHUNK - 2, bytes: Uint8Array.of(1, 2, 3, 4) },
    { offset: 16, bytes: Uint8Array.of(9) },
  ];
  const memory = memoryWith(2 * CHUNK, new Map([[16, 0xffffn]]));
  const { bytes } = await dump({ filesize: 2 * CHUNK, memory, patches, kept: [{ start: 16, end: 17 }] });
  t.deepEqual([...bytes.subarray(CHUNK - 2, CHUNK + 2)], [1, 2, 3, 4]);
  t.deepEqual([...bytes.subarray(16, 18)], [9, 0xff]);
});

test('a segment of the file that ends within a page is patched', async t => {
  const contents = new Uint8Array(PAGE + 100).fill(5);
  const job = { filesize: PAGE + 100, memory: undefined, contents, kept: [{ start: 0, end: PAGE + 100 }] };
  const { bytes, progress } = await dump({
    ...job,
    patches: [{ offset: PAGE + 10, bytes: new Uint8Array(8) }],
  });
  t.is(progress, PAGE + 100);
  t.deepEqual([bytes[PAGE + 9], bytes[PAGE + 10], bytes[PAGE + 17], bytes[PAGE + 18]], [5, 0, 0, 5]);
  t.true(bytes.subarray(PAGE + 100).every(byte => byte === 0));
});

for (const pageSize of [0x1000, 0x4000]) {
  for (const targetBase of [0n, BASE]) {
    const format = targetBase === 0n ? 'addresses' : 'distances';
    test(`pointers are chained page by page, as ${format}, pages of 0x${pageSize.toString(16)}`, async t => {
      const offsets = [4, 16, pageSize - 8, 2 * pageSize, CHUNK - 8, CHUNK, CHUNK + 12];
      const size = CHUNK + 4 * pageSize;
      const words = new Map(offsets.map((at, i) => [at, pointer(i * 0x100) | (BigInt(i) << 56n)]));
      words.set(0x100, 0x5555n);
      const like = {
        importOrdinal: 7,
        address: 0n,
        symbol: '_strcmp',
        libOrdinal: 1,
        addend: 0n,
        weak: false,
        lazy: false,
      };
      const contents = new Uint8Array(2 * PAGE);
      writeChainedBind(viewOf(contents), 0x200, 3, 0);
      writeChainedRebase(viewOf(contents), 0x208, 0x4321, 0);
      const fixups: SegmentFixups = {
        dumped: Float64Array.from(offsets),
        kept: Float64Array.of(0x208),
        bound: Float64Array.of(0x200),
        added: [{ offset: 0x100, like }],
      };
      const job = {
        filesize: size,
        memory: memoryWith(size, words),
        contents,
        kept: [{ start: 0x200, end: 0x210 }],
        fixups,
      };
      const { bytes, pageStarts } = await dump(job, { pageSize, targetBase });

      const starts = new Map(
        [...pageStarts.entries()].filter(
          ([, start]) => start !== DYLD_CHAINED_PTR_START.DYLD_CHAINED_PTR_START_NONE,
        ),
      );
      t.deepEqual(
        [...starts],
        [
          [0, 4],
          [2, 0],
          [CHUNK / pageSize - 1, pageSize - 8],
          [CHUNK / pageSize, 0],
        ],
      );
      t.is(pageStarts.length, CHUNK / pageSize + 1);
      const chains = readChains({ segmentOffset: 0n, pageSize, pageStarts }, bytes);
      const expected = offsets.map((at, i) => [at, Number(VMADDR - targetBase) + i * 0x100, i]);
      expected.push([0x208, 0x4321, 0]);
      const found = [...chains.offsets].map((at, i) => [at, chains.targets[i], chains.high8[i]]);
      t.deepEqual(
        found,
        expected.sort(([a = 0], [b = 0]) => a - b),
      );
      t.deepEqual(chains.binds, [
        { offset: 0x100, kind: 'bind', ordinal: 7, addend: 0 },
        { offset: 0x200, kind: 'bind', ordinal: 3, addend: 0 },
      ]);
    });
  }
}

test('a pointer that leads too far for a chain is refused', async t => {
  const chained = { pageSize: PAGE, targetBase: 0n };
  for (const value of [SLIDE + 2n ** 36n, SLIDE - 1n, pointer(0) | (1n << 48n)]) {
    const memory = memoryWith(PAGE, new Map([[8, value]]));
    await t.throwsAsync(dump({ filesize: PAGE, memory, fixups: dumped(8) }, chained), {
      code: 'MACHO_BAD_CHAIN',
    });
  }
});

test('an error of the write is an error of the dump', async t => {
  const handle = await open(join(directory, 'read-only'), 'w+');
  await handle.close();
  const readOnly = await open(join(directory, 'read-only'), 'r');
  const job = {
    filesize: 8 * CHUNK,
    fileoff: 0,
    contents: new Uint8Array(),
    kept: [],
    pointers: plainPointers(new Float64Array(), 0n, undefined),
    nulled: new Float64Array(),
  };
  const patches = [0, 1, 2, 3, 4, 5].map(i => ({ offset: i * CHUNK, bytes: Uint8Array.of(1) }));
  const written = dumpSegment({ ...job, memory: undefined, patches }, readOnly, () => {});
  await t.throwsAsync(written, { code: 'EBADF' });
  await readOnly.close();
});

test('chainedPages() counts pages up to the last word', t => {
  t.is(chainedPages(new Float64Array(), PAGE), 0);
  t.is(chainedPages(Float64Array.of(0), PAGE), 1);
  t.is(chainedPages(Float64Array.of(0, PAGE - 8), PAGE), 1);
  t.is(chainedPages(Float64Array.of(0, PAGE), PAGE), 2);
});
