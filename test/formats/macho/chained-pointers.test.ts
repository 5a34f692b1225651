import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import {
  type ChainSlot,
  chainPage,
  chainTarget,
  linkChain,
  readChains,
  targetAddress,
  writeChainedRebase,
} from '../../../formats/macho/chained-pointers.ts';

const NONE = 0xffff;
const PAGE = 0x1000;

const rebase = (offset: number, target: number, high8 = 0): ChainSlot => ({
  offset,
  kind: 'rebase',
  target,
  high8,
});
const bind = (offset: number, ordinal: number, addend = 0): ChainSlot => ({
  offset,
  kind: 'bind',
  ordinal,
  addend,
});

const content = fc.oneof(
  fc.record({
    kind: fc.constant('rebase' as const),
    target: fc.nat(2 ** 31).map(n => n * 31),
    high8: fc.nat(255),
  }),
  fc.record({ kind: fc.constant('bind' as const), ordinal: fc.nat(2 ** 24 - 1), addend: fc.nat(255) }),
);
const slots = fc
  .array(fc.tuple(fc.oneof(fc.constant(0), fc.nat(300)), content), { maxLength: 40 })
  .map(list => {
    let end = 0;
    return list.flatMap(([gap, slot]): ChainSlot[] => {
      const offset = end + 4 * gap;
      end = offset + 8;
      return end <= PAGE ? [{ offset, ...slot }] : [];
    });
  });

test('readChains() gives back what chainPage() took', t => {
  fc.assert(
    fc.property(fc.array(slots, { maxLength: 4 }), pages => {
      const contents = new Uint8Array(pages.length * PAGE);
      const pageStarts = Uint16Array.from(pages, (page, i) =>
        chainPage(contents.subarray(i * PAGE, (i + 1) * PAGE), page),
      );
      const chains = readChains({ segmentOffset: 0n, pageSize: PAGE, pageStarts }, contents);
      const moved = pages.flatMap((page, i) =>
        page.map(slot => ({ ...slot, offset: slot.offset + i * PAGE })),
      );
      t.deepEqual(
        chains.binds,
        moved.filter(slot => slot.kind === 'bind'),
      );
      const rebases = Array.from(chains.offsets, (offset, i) =>
        rebase(offset, chains.targets[i] ?? 0, chains.high8[i]),
      );
      t.deepEqual(
        rebases,
        moved.filter(slot => slot.kind === 'rebase'),
      );
    }),
  );
});

test('chainPage() writes the bit fields of mach-o/fixup-chains.h', t => {
  const page = new Uint8Array(PAGE);
  const words = new BigUint64Array(page.buffer);
  t.is(chainPage(page, [rebase(8, 0xf_1234_5678, 0xab), bind(24, 0xabcdef, 0x12), rebase(0x40, 0)]), 8);
  t.is(words[1], 0xf_1234_5678n | (0xabn << 36n) | (4n << 51n));
  t.is(words[3], 0xabcdefn | (0x12n << 24n) | (10n << 51n) | (1n << 63n));
  t.is(words[8], 0n);
});

test('linkChain() keeps everything but the distances', t => {
  const page = new Uint8Array(PAGE).fill(0xff);
  t.is(linkChain(page, [0x1008, 0x1010, 0x1018], 1, 3, 0x1000), 0x10);
  t.is(new BigUint64Array(page.buffer)[2], 0xffff_ffff_ffff_ffffn ^ (0xffdn << 51n));
  t.is(new BigUint64Array(page.buffer)[3], 0xffff_ffff_ffff_ffffn ^ (0xfffn << 51n));
  t.is(linkChain(page, [], 0, 0, 0), NONE);
});

test('chainTarget() and targetAddress() count from the header in format 6, and not in 2', t => {
  const base = 0x1_0000_0000n;
  t.is(chainTarget(6, base + 0x4000n, base), 0x4000);
  t.is(chainTarget(2, base + 0x4000n, base), 0x1_0000_4000);
  t.is(targetAddress(6, 0x4000, base), base + 0x4000n);
  t.is(targetAddress(2, 0x1_0000_4000, base), base + 0x4000n);
  t.throws(() => chainTarget(6, 0x1000n, base), { instanceOf: FormatError, message: /0 to 2\^36/ });
  t.throws(() => chainTarget(2, 2n ** 36n, base), { instanceOf: FormatError });
});

const chained =
  (...list: ChainSlot[]) =>
  () =>
    chainPage(new Uint8Array(PAGE), list);
const read =
  (words: bigint[], start: number, size = PAGE) =>
  () => {
    const contents = new Uint8Array(2 * PAGE);
    new BigUint64Array(contents.buffer).set(words);
    readChains(
      { segmentOffset: 0n, pageSize: PAGE, pageStarts: Uint16Array.of(start) },
      contents.subarray(0, size),
    );
  };
const rejects = test.macro<[() => unknown, RegExp]>({
  exec(t, act, message) {
    t.is(t.throws(act, { instanceOf: FormatError, message })?.code, 'MACHO_BAD_CHAIN');
  },
  title: (title = '') => title,
});
test('chainPage() rejects a target of 37 bits', rejects, chained(rebase(0, 2 ** 36)), /2\^36/);
test('chainPage() rejects a negative target', rejects, chained(rebase(0, -1)), /2\^36/);
test('chainPage() rejects an ordinal of 25 bits', rejects, chained(bind(0, 2 ** 24)), /2\^24/);
test('chainPage() rejects an addend of 9 bits', rejects, chained(bind(0, 0, 256)), /255/);
test('chainPage() rejects high8 of 9 bits', rejects, chained(rebase(0, 0, 256)), /255/);
test('chainPage() rejects an unaligned slot', rejects, chained(rebase(0, 0), rebase(10, 0)), /multiple of 4/);
test('chainPage() rejects slots that overlap', rejects, chained(rebase(0, 0), rebase(4, 0)), /8 or more/);
test('chainPage() rejects slots that descend', rejects, chained(rebase(8, 0), rebase(0, 0)), /8 or more/);
test('chainPage() rejects a slot that leaves the page', rejects, chained(rebase(PAGE - 4, 0)), /of the page/);
test(
  'linkChain() rejects a distance that the word cannot hold',
  rejects,
  () => linkChain(new Uint8Array(0x8000), [0, 0x4000], 0, 2, 0),
  /at most 16380/,
);
test('readChains() rejects several starts on a page', rejects, read([], 0x8000), /within 0x1000 bytes/);
test(
  'readChains() rejects a start past the contents',
  rejects,
  read([], 0x10, 0x14),
  /within the 0x14 bytes/,
);
test('readChains() rejects a chain that leaves its page', rejects, read([0xfffn << 51n], 0), /within page 0/);
test(
  'readChains() rejects a chain that leaves the contents',
  rejects,
  read([4n << 51n], 0, 20),
  /within 0x14/,
);
test('readChains() rejects words that overlap', rejects, read([1n << 51n], 0), /8 or more/);

test('readChains() reads a word that ends on the next page, across the chunks of a megabyte', t => {
  const contents = new Uint8Array(2 ** 20 + PAGE);
  const pages = contents.length / PAGE;
  const pageStarts = new Uint16Array(pages).fill(NONE);
  pageStarts[pages - 2] = PAGE - 4;
  pageStarts[pages - 1] = 8;
  writeChainedRebase(new DataView(contents.buffer), 2 ** 20 - 4, 0xf_89ab_cdef, 0x11);
  const { offsets, targets, high8 } = readChains({ segmentOffset: 0n, pageSize: PAGE, pageStarts }, contents);
  t.deepEqual([...offsets], [2 ** 20 - 4, 2 ** 20 + 8]);
  t.deepEqual([...targets], [0xf_89ab_cdef, 0]);
  t.deepEqual([...high8], [0x11, 0]);
});

test('two million words are written, chained and read in seconds', t => {
  const count = 2_000_000;
  const pages = (count * 8) / PAGE;
  const contents = new Uint8Array(count * 8);
  const view = new DataView(contents.buffer);
  const offsets = Float64Array.from({ length: count }, (_, i) => 8 * i);
  const begin = performance.now();
  for (let i = 0; i < count; i++) writeChainedRebase(view, 8 * i, 3 * i, 0);
  const pageStarts = new Uint16Array(Math.ceil(pages));
  for (let page = 0; page < pageStarts.length; page++) {
    const from = (page * PAGE) / 8;
    const bytes = contents.subarray(page * PAGE, (page + 1) * PAGE);
    pageStarts[page] = linkChain(bytes, offsets, from, Math.min(from + PAGE / 8, count), page * PAGE);
  }
  const chains = readChains({ segmentOffset: 0n, pageSize: PAGE, pageStarts }, contents);
  const seconds = (performance.now() - begin) / 1000;
  t.log(`${seconds.toFixed(2)} s`);
  t.is(chains.offsets.length, count);
  t.true(chains.targets.every((target, i) => target === 3 * i));
  t.true(seconds < 10, `${seconds} s`);
});
