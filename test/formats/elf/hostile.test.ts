/** Random bytes and spoiled files: each reader gives a result or a FormatError, soon and in little memory. */
import test from 'ava';
import fc from 'fast-check';
import {
  DT,
  decodeSymbols,
  dynamicStrings,
  elfBytes,
  elfNotes,
  FormatError,
  readBuildId,
  readDynamicSymbols,
  readElf,
  readElfCore,
  readNotes,
  readSymbols,
  readSymbolVersions,
  SHT,
  StringTable,
} from '../../../formats/elf/index.ts';
import { core } from './support/core.ts';
import { detached } from './support/files.ts';
import { hello } from './support/hello.ts';
import { bytesOf, compiled, manySections } from './support/tools.ts';

/** The longest that any file here may take, in ms: a hundred times what it does take. */
const PATIENCE = 5000;

/** The result, or undefined for a FormatError. Anything else that is thrown ends the test. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError && error.code !== '' && error.message !== '') return undefined;
    throw error;
  }
}

/** Everything that reads; says whether the file was one. What could be read is written as it was. */
function exercise(bytes: Uint8Array): boolean {
  const start = performance.now();
  const file = attempt(() => readElf(bytes));
  if (file) {
    if (Buffer.compare(elfBytes(file), bytes) !== 0) throw new Error('write(read(x)) is not x');
    const alone = attempt(() => elfBytes(detached(file)));
    if (alone && Buffer.compare(alone, bytes) !== 0)
      throw new Error('write(read(x)) is not x, from the model alone');
    const tables = file.sections.filter(({ type }) => type === SHT.SHT_SYMTAB || type === SHT.SHT_DYNSYM);
    for (const table of tables.slice(0, 4)) attempt(() => readSymbols(file, table));
    attempt(() => elfNotes(file));
    attempt(() => readElfCore(file));
    attempt(() => readBuildId(file));
    attempt(() => dynamicStrings(file, DT.DT_NEEDED));
    const symbols = attempt(() => readDynamicSymbols(file));
    attempt(() => readSymbolVersions(file, symbols?.length ?? 1));
  }
  const elapsed = performance.now() - start;
  if (elapsed > PATIENCE) throw new Error(`took ${elapsed.toFixed()} ms`);
  return file !== undefined;
}

test('random bytes give only FormatErrors', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), bytes => void exercise(bytes)),
    { numRuns: 1000 },
  );
  t.pass();
});

test('random bytes after a good e_ident give only FormatErrors', t => {
  const ident = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), bytes => void exercise(Buffer.concat([ident, bytes]))),
    { numRuns: 1000 },
  );
  t.pass();
});

test('random bytes as notes, symbols and strings give only FormatErrors', t => {
  const anyBytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(anyBytes, anyBytes, anyBytes, fc.nat(), (a, b, c, n) => {
      attempt(() => readNotes(a, n % 9));
      attempt(() => decodeSymbols(a, new StringTable(b), c));
      attempt(() => new StringTable(a).at(n % 400));
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

/** Numbers at which readers fail. The size of the file comes on top, to point at and past its end. */
const LIMITS = [
  0n,
  1n,
  2n,
  7n,
  0x7fn,
  0xfen,
  0xffn,
  0xff00n,
  0xfffen,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 8n,
  2n ** 64n - 1n,
];

interface Mutation {
  readonly where: 'headers' | 'section headers' | 'anywhere';
  readonly at: number;
  readonly width: 1 | 2 | 4 | 8;
  readonly value: bigint;
  readonly relative: boolean;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  where: fc.constantFrom('headers', 'section headers', 'anywhere'),
  at: fc.nat(2 ** 30),
  width: fc.constantFrom(1, 2, 4, 8),
  value: fc.oneof(fc.constantFrom(...LIMITS), fc.bigInt(0n, 2n ** 64n - 1n)),
  relative: fc.boolean(),
});

/** A copy, cut off at `keep` of its bytes, with these fields overwritten. */
function spoil(original: Uint8Array, mutations: readonly Mutation[], keep: number): Uint8Array {
  const bytes = original.slice(0, Math.ceil(original.length * keep));
  const view = new DataView(bytes.buffer);
  const shoff =
    original.length >= 64
      ? Number(new DataView(original.buffer, original.byteOffset).getBigUint64(40, true))
      : 0;
  for (const { where, at, width, value, relative } of mutations) {
    const [start, length] = {
      headers: [0, 64 + 56 * 12],
      'section headers': [shoff, 64 * 40],
      anywhere: [0, bytes.length],
    }[where] as [number, number];
    // Fields are aligned to their width.
    const offset = start + Math.floor((at % Math.max(1, length)) / width) * width;
    if (offset + width > bytes.length) continue;
    const number = relative ? value + BigInt(bytes.length) : value;
    for (let i = 0; i < width; i++) view.setUint8(offset + i, Number((number >> BigInt(8 * i)) & 0xffn));
  }
  return bytes;
}

const spoiled = test.macro<[string, () => Uint8Array, number]>({
  exec(t, title, make, numRuns) {
    t.timeout(300_000);
    const original = make();
    t.true(exercise(original), 'the file itself can be read');
    let readable = 0;
    const keep = fc.oneof(
      { weight: 4, arbitrary: fc.constant(1) },
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), keep, (mutations, share) => {
        if (exercise(spoil(original, mutations, share))) readable++;
      }),
      { numRuns },
    );
    t.log(`${readable} of ${numRuns} spoiled copies of ${title} could still be read`);
    // Copies that are all refused at the first look would test nothing behind it.
    t.true(readable > numRuns / 50);
    t.true(process.memoryUsage().rss < 2 ** 30);
  },
  title: (_, title) => `${title}, spoiled in any way, gives only FormatErrors`,
});

const SOURCE = `
  #include <math.h>
  static int a; int b = 2; _Thread_local int c; double d(double x) { return cos(x) + a; }
  __attribute__((weak)) int e(void) { return b + c; }`;
test(spoiled, 'a program of the system', () => bytesOf('/bin/true'), 500);
test(spoiled, 'an object file', () => compiled(SOURCE, ['-c', '-g']), 500);
test(spoiled, 'a library', () => compiled(SOURCE, ['-shared', '-fPIC', '-lm', '-Wl,--hash-style=gnu']), 500);
test(
  spoiled,
  'a library with DT_HASH',
  () => compiled(SOURCE, ['-shared', '-fPIC', '-lm', '-Wl,--hash-style=sysv']),
  500,
);
test(spoiled, 'a program of ours', () => elfBytes(hello()), 500);
test(spoiled, 'a core', () => elfBytes(core([new Uint8Array(5000), new Uint8Array(300)])), 500);
test(
  spoiled,
  'a core of 65,600 segments',
  () => elfBytes(core(Array.from({ length: 65_600 }, () => new Uint8Array(0)))),
  40,
);
test(spoiled, 'a file of 66,000 sections', () => bytesOf(manySections(66_000)), 40);
