import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import {
  type ChainedFixups,
  encodeChainedFixups,
  readChainedFixups,
} from '../../../formats/macho/chained-fixups.ts';
import { encodeImports } from '../../../formats/macho/chained-imports.ts';

const IMPORTS = [
  { libOrdinal: 1, weak: false, symbol: '_malloc', addend: 0n },
  { libOrdinal: -2, weak: true, symbol: '_b', addend: 0n },
];
const newFixups = (fields: Partial<ChainedFixups> = {}): ChainedFixups => ({
  pointerFormat: 6,
  maxValidPointer: 0,
  segments: [
    undefined,
    { segmentOffset: 0x4000n, pageSize: 0x1000, pageStarts: Uint16Array.of(0x10, 0xffff, 0xff8) },
  ],
  ...encodeImports(IMPORTS),
  ...fields,
});
const padded = (bytes: Uint8Array, length: number): Uint8Array => {
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
};

test('readChainedFixups() gives back what encodeChainedFixups() took', t => {
  const anyFixups = fc.record({
    pointerFormat: fc.constantFrom(2, 6),
    pageSize: fc.constantFrom(0x1000, 0x4000),
    maxValidPointer: fc.nat(),
    segments: fc.array(
      fc.option(
        fc.record({
          segmentOffset: fc.bigInt(0n, 2n ** 64n - 1n),
          pageStarts: fc.uint16Array({ maxLength: 9 }),
        }),
        { nil: undefined },
      ),
      { maxLength: 6 },
    ),
    addend: fc.constantFrom(0n, 5n, 2n ** 40n),
  });
  fc.assert(
    fc.property(anyFixups, ({ pageSize, segments, addend, ...fields }) => {
      const imports = IMPORTS.map(symbol => ({ ...symbol, addend }));
      const fixups = newFixups({
        ...fields,
        ...encodeImports(imports),
        segments: segments.map(segment => segment && { ...segment, pageSize }),
      });
      const blob = encodeChainedFixups(fixups);
      const { imports: found, symbolsBytes, ...rest } = readChainedFixups(blob);
      t.is(blob.length % 8, 0);
      t.deepEqual(found, imports);
      t.deepEqual(symbolsBytes, padded(fixups.symbolsBytes, symbolsBytes.length));
      const none = segments.every(segment => segment === undefined);
      const { symbolsBytes: _, ...wanted } = none
        ? { ...fixups, pointerFormat: undefined, maxValidPointer: 0 }
        : fixups;
      t.deepEqual(rest, wanted);
      t.deepEqual(encodeChainedFixups(readChainedFixups(blob)), blob);
    }),
  );
});

test('encodeChainedFixups() places the parts as ld(1) does', t => {
  const blob = encodeChainedFixups(newFixups());
  const words = Array.from(new Uint32Array(blob.buffer, 0, 18));
  // The header, and padding to 8 bytes.
  t.deepEqual(words.slice(0, 8), [0, 32, 76, 84, 2, 1, 0, 0]);
  // seg_count, seg_info_offset, and padding; the starts of the second segment from their 16th byte on.
  t.deepEqual(words.slice(8, 12), [2, 0, 16, 0]);
  // size and, in one word each, page_size and pointer_format; segment_offset, max_valid_pointer, page_count.
  t.deepEqual(words.slice(12, 17), [28, 0x1000 + (6 << 16), 0x4000, 0, 0]);
  t.is(Buffer.from(blob.subarray(84)).toString('latin1').replace(/\0+$/, ''), '\0_malloc\0_b');
});

/** A copy with a u16 or u32 changed. */
const spoiled = (at: number, value: number, size = 4): Uint8Array => {
  const blob = encodeChainedFixups(newFixups());
  const view = new DataView(blob.buffer);
  if (size === 4) view.setUint32(at, value, true);
  else view.setUint16(at, value, true);
  return blob;
};

const rejects = test.macro<[Uint8Array, RegExp, string?]>({
  exec(t, blob, message, code = 'MACHO_BAD_CHAINED_FIXUPS') {
    t.is(t.throws(() => readChainedFixups(blob), { instanceOf: FormatError, message })?.code, code);
  },
  title: (title = '') => `readChainedFixups() rejects ${title}`,
});
test('a version that is unknown', rejects, spoiled(0, 1), /fixups_version .* is 1/);
test('starts past the end', rejects, spoiled(4, 0x1000), /starts_offset/);
test('imports past the end', rejects, spoiled(8, 0x1000), /imports_offset/);
test('symbols past the end', rejects, spoiled(12, 0x1000), /symbols_offset/);
test('imports_count past the end', rejects, spoiled(16, 0xffff_ffff), /imports_offset/);
test('an unknown format of imports', rejects, spoiled(20, 7), /imports_format is 7/, 'MACHO_BAD_IMPORTS');
test('compressed symbols', rejects, spoiled(24, 1), /symbols_format .* is 1, expected 0, not compressed/);
test('seg_count past the end', rejects, spoiled(32, 0xffff_ffff), /seg_count/);
test('a segment past the end', rejects, spoiled(40, 0x1000), /seg_info_offset/);
test(
  'starts of a segment that are too small',
  rejects,
  spoiled(48, 27),
  /size .* is 27, expected at least 28/,
);
test('a page size that dyld refuses', rejects, spoiled(52, 0x2000, 2), /page_size .* is 0x2000/);
test('more pages than there are', rejects, spoiled(68, 60_000, 2), /size .* is 28/);
for (const [format, name] of [
  [1, 'ARM64E'],
  [9, 'ARM64E_USERLAND'],
  [12, 'ARM64E_USERLAND24'],
] as const) {
  test(
    `DYLD_CHAINED_PTR_${name} by its name`,
    rejects,
    spoiled(54, format, 2),
    new RegExp(`${name},`),
    'MACHO_ARM64E',
  );
}
test('pointers of 32 bits by their name', rejects, spoiled(54, 3, 2), /is DYLD_CHAINED_PTR_32, expected/);
test('a pointer format that is unknown', rejects, spoiled(54, 99, 2), /is 0x63, expected/);

test('readChainedFixups() rejects segments that share their starts', t => {
  const starts = { segmentOffset: 0n, pageSize: 0x1000, pageStarts: new Uint16Array(1000) };
  const segments = [starts, ...new Array<undefined>(10).fill(undefined)];
  const blob = encodeChainedFixups(newFixups({ segments }));
  const offsets = new Uint32Array(blob.buffer, 36, segments.length);
  offsets.fill(offsets[0] ?? 0);
  t.throws(() => readChainedFixups(blob), { instanceOf: FormatError, message: /do not share/ });
});

test('readChainedFixups() rejects segments whose formats differ', t => {
  const [, segment] = newFixups().segments;
  const blob = encodeChainedFixups(newFixups({ segments: [segment, segment] }));
  new DataView(blob.buffer).setUint16(32 + 16 + 32 + 6, 2, true);
  t.throws(() => readChainedFixups(blob), { instanceOf: FormatError, message: /as in other segments/ });
});

test('encodeChainedFixups() rejects what dyld refuses', t => {
  const starts = { segmentOffset: 0n, pageSize: 0x1000, pageStarts: new Uint16Array(1) };
  const wrong: [Partial<ChainedFixups>, RegExp][] = [
    [{ pointerFormat: undefined }, /pointer_format/],
    [{ pointerFormat: 9 }, /ARM64E_USERLAND/],
    [{ segments: [starts, { ...starts, pageSize: 0x4000 }] }, /the same in all segments/],
    [{ segments: [{ ...starts, pageSize: 0x2000 }] }, /0x1000 or 0x4000/],
    [{ segments: [{ ...starts, pageStarts: new Uint16Array(65_536) }] }, /split the segment/],
  ];
  for (const [fields, message] of wrong) {
    t.throws(() => encodeChainedFixups(newFixups(fields)), { instanceOf: FormatError, message });
  }
});

test('any bytes give fixups or a FormatError', t => {
  const blob = encodeChainedFixups(newFixups());
  const changes = fc.array(fc.tuple(fc.nat(blob.length - 1), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(changes, fc.nat(blob.length), (list, length) => {
      const copy = blob.slice(0, length);
      for (const [at, value] of list) if (at < length) copy[at] = value;
      try {
        readChainedFixups(copy);
        t.pass();
      } catch (error) {
        t.true(error instanceof FormatError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
