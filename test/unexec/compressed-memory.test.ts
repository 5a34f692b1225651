/** The blocks of a compressed image, and what is done with a note of them that makes no sense. */
import test from 'ava';
import {
  addSection,
  type ElfFile,
  EM,
  ET,
  elfBytes,
  encodeNotes,
  newElf,
  newSection,
  newSegment,
  PF,
  PT,
  readElf,
  SHT,
} from '../../formats/elf/index.ts';
import { Lz4Compressor, lz4Bound } from '../../formats/lz4.ts';
import { bytesSource } from '../../formats/source.ts';
import {
  type CompressedBlock,
  compressedBlocks,
  compressedStretches,
  encodeBlocks,
  StretchSource,
} from '../../unexec/compressed-memory.ts';
import { NOTE } from '../../unexec/manifest.ts';

/** A file with this note, and 4 KiB of anything. */
function fileWith(desc: Uint8Array): ElfFile {
  const file = newElf({ type: ET.ET_EXEC, machine: EM.EM_X86_64, entry: 0x1000n });
  const contents = encodeNotes([{ owner: 'unexec', type: NOTE.BLOCKS, desc }], 4);
  const note = addSection(file, newSection({ name: '.note.unexec', type: SHT.SHT_NOTE, align: 4, contents }));
  const anything = new Uint8Array(4096).fill(1);
  addSection(file, newSection({ name: '.anything', type: SHT.SHT_PROGBITS, contents: anything }));
  file.segments = [newSegment({ type: PT.PT_NOTE, flags: PF.PF_R, align: 4, sections: [note] })];
  return readElf(bytesSource(elfBytes(file)));
}

const block = (address: bigint, size: number, offset: number, length: number): CompressedBlock => ({
  ...{ address, size, offset, length },
});
const FIRST = block(0x1000n, 0x2000, 64, 100);

test('compressedBlocks() reads what encodeBlocks() has written', t => {
  const blocks = [FIRST, block(0x3000n, 0x1000, 164, 0x1000), block(0x10_000n, 1 << 20, 0x1100, 1)];
  t.deepEqual(compressedBlocks(fileWith(encodeBlocks(blocks))), blocks);
  t.deepEqual(compressedBlocks(fileWith(new Uint8Array())), []);
});

const DAMAGED: Readonly<Record<string, readonly CompressedBlock[]>> = {
  'before the one before it': [FIRST, block(0x800n, 0x800, 164, 10)],
  'over the one before it': [FIRST, block(0x2000n, 0x1000, 164, 10)],
  'with bytes of the one before it': [FIRST, block(0x3000n, 0x1000, 163, 10)],
  'of no bytes': [block(0x1000n, 0, 64, 0)],
  'of nothing in the file': [block(0x1000n, 4096, 64, 0)],
  'that grows': [block(0x1000n, 64, 64, 65)],
  'of more than a MiB': [block(0x1000n, (1 << 20) + 1, 64, 10)],
  'beyond the last address': [block(0xffff_ffff_ffff_f000n, 0x1001, 64, 10)],
  'behind the file': [block(0x1000n, 4096, 1 << 20, 10)],
  'that ends behind the file': [block(0x1000n, 1 << 20, 64, 1 << 19)],
};
for (const [what, blocks] of Object.entries(DAMAGED)) {
  test(`compressedBlocks() refuses a block ${what}`, t => {
    t.throws(() => compressedBlocks(fileWith(encodeBlocks(blocks))), { code: 'BLOCKS_MALFORMED' });
  });
}

test('compressedBlocks() refuses a note that ends within a block', t => {
  for (const size of [1, 31, 33]) {
    const desc = new Uint8Array([...encodeBlocks([FIRST]), ...new Uint8Array(32)]).subarray(0, size);
    t.throws(() => compressedBlocks(fileWith(desc)), { code: 'BLOCKS_MALFORMED' }, `${size}`);
  }
});

test('a stretch reads as the memory that was compressed, wherever it is read', t => {
  const memory = Uint8Array.from({ length: 50_000 }, (_, i) => (i >> 5) & 0xff);
  const compressor = new Lz4Compressor();
  const file = new Uint8Array(100_000);
  const blocks: CompressedBlock[] = [];
  let offset = 10;
  for (let at = 0; at < memory.length; at += 10_000) {
    const packed = new Uint8Array(lz4Bound(10_000));
    const length = compressor.compress(memory.subarray(at, at + 10_000), packed);
    file.set(packed.subarray(0, length), offset);
    blocks.push(block(0x5000n + BigInt(at), 10_000, offset, length));
    offset += length;
  }
  const [stretch, ...rest] = compressedStretches(blocks);
  if (stretch === undefined) return t.fail();
  t.is(rest.length, 0);
  const source = new StretchSource(bytesSource(file), stretch);
  for (const [at, length] of [
    [0, 50_000],
    [9_999, 2],
    [49_999, 1],
    [15_000, 20_000],
    [0, 0],
    [50_000, 0],
  ] as const) {
    t.deepEqual(source.read(at, length), memory.slice(at, at + length), `${length} at ${at}`);
  }
  const offsets = [9_999, 10_000].map(at => source.fileOffsetOf(at));
  t.deepEqual(
    offsets,
    blocks.slice(0, 2).map(({ offset }) => offset),
  );
  for (const [at, length] of [
    [-1, 1],
    [0, 50_001],
    [50_001, 0],
    [0, -1],
  ] as const) {
    t.throws(() => source.read(at, length), { code: 'TRUNCATED' });
  }
});
