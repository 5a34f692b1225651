import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../formats/errors.ts';
import { decompressLz4, Lz4Compressor, lz4Bound } from '../../formats/lz4.ts';

const compressor = new Lz4Compressor();

function compress(bytes: Uint8Array): Uint8Array {
  const into = new Uint8Array(lz4Bound(bytes.length));
  return into.slice(0, compressor.compress(bytes, into));
}

function decompress(block: Uint8Array, size: number): Uint8Array {
  const into = new Uint8Array(size);
  decompressLz4(block, into);
  return into;
}

/** Bytes that compress: pieces of themselves, at any distance, between others. */
const compressible = fc
  .array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(), fc.nat({ max: 600 })), { maxLength: 40 })
  .map(parts => {
    const bytes: number[] = [];
    for (const [fresh, back, length] of parts) {
      bytes.push(...fresh);
      const from = bytes.length === 0 ? 0 : back % bytes.length;
      for (let i = 0; i < length && bytes.length > 0; i++) bytes.push(bytes[from + i] ?? 0);
    }
    return Uint8Array.from(bytes);
  });

test('what is compressed is decompressed to the same bytes', t => {
  fc.assert(
    fc.property(fc.oneof(compressible, fc.uint8Array({ maxLength: 3000 })), bytes => {
      t.deepEqual(decompress(compress(bytes), bytes.length), bytes);
    }),
    { numRuns: 500 },
  );
});

test('a program becomes smaller, and zeros nearly nothing', t => {
  const program = readFileSync(process.execPath).subarray(0, 4 << 20);
  const block = compress(program);
  t.true(block.length < program.length * 0.85, `${block.length} of ${program.length}`);
  t.true(Buffer.from(decompress(block, program.length)).equals(program));
  t.true(compress(new Uint8Array(1 << 20)).length < 4200);
});

/** A frame with one block (LZ4 frame format 1.6.2): no checksum but the header's, which lz4 wants. */
test('the lz4 tool reads our blocks', t => {
  const bytes = readFileSync(process.execPath).subarray(1 << 20, (1 << 20) + 50_000);
  const block = compress(bytes);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(block.length);
  // Version 1, blocks of their own, at most 64 KiB; 0x82 is the second byte of xxh32 of the two.
  const frame = Buffer.concat([Buffer.from('04224d18604082', 'hex'), size, block, Buffer.alloc(4)]);
  const { stdout, stderr, error } = spawnSync('lz4', ['-dc'], { input: frame });
  t.is(error, undefined, 'apt-get install lz4');
  t.true(stdout.equals(bytes), stderr.toString());
});

test('our decompressor reads blocks of the lz4 tool', t => {
  const bytes = readFileSync(process.execPath).subarray(1 << 20, (1 << 20) + 50_000);
  const { stdout, error } = spawnSync('lz4', ['-9', '-B4', '--no-frame-crc', '-c'], { input: bytes });
  t.is(error, undefined, 'apt-get install lz4');
  const header = (stdout[4] ?? 0) & 8 ? 15 : 7;
  const size = stdout.readUInt32LE(header);
  const block = stdout.subarray(header + 4, header + 4 + size);
  t.true(Buffer.from(decompress(block, bytes.length)).equals(bytes));
});

test('a block that is damaged gives an error or as many bytes as were asked for', t => {
  const damaged = fc.tuple(
    compressible,
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }),
    fc.nat(),
  );
  fc.assert(
    fc.property(damaged, ([bytes, changes, cut]) => {
      const block = compress(bytes);
      for (const [at, value] of changes) block[at % block.length] = value;
      try {
        decompress(block.subarray(0, cut % (block.length + 1)), bytes.length);
      } catch (error) {
        t.true(error instanceof FormatError && error.code === 'LZ4_CORRUPT', String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test('a block that is shorter or longer than was said is refused', t => {
  const block = compress(new Uint8Array(100).fill(7));
  for (const size of [0, 99, 101]) t.throws(() => decompress(block, size), { code: 'LZ4_CORRUPT' });
  t.throws(() => decompress(new Uint8Array(), 0), { code: 'LZ4_CORRUPT' });
  t.deepEqual(decompress(Uint8Array.of(0), 0), new Uint8Array());
});
