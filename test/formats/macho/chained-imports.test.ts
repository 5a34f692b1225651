import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { readChainedFixups } from '../../../formats/macho/chained-fixups.ts';
import { type ChainedImport, decodeImports, encodeImports } from '../../../formats/macho/chained-imports.ts';
import { findBlob, readFixups, readMachO, wholeContents } from '../../../formats/macho/index.ts';
import { compileMachO } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';
import { bytesOf } from './support/tools.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const text = (latin1: string): Uint8Array => Uint8Array.from(Buffer.from(latin1, 'latin1'));
const newImport = (fields: Partial<ChainedImport>): ChainedImport => ({
  libOrdinal: 1,
  weak: false,
  symbol: '_a',
  addend: 0n,
  ...fields,
});

const symbol = fc.string({ maxLength: 5 }).map(name => name.replaceAll('\0', ''));
const imports = fc
  .record({ bits: fc.constantFrom(0, 32, 64), ordinals: fc.constantFrom(240, 65_520) })
  .chain(({ bits, ordinals }) =>
    fc.array(
      fc.record({
        libOrdinal: fc.integer({ min: -15, max: ordinals }),
        weak: fc.boolean(),
        symbol,
        addend: fc.bigInt(0n, 2n ** 64n - 1n).map(value => (bits === 0 ? 0n : BigInt.asIntN(bits, value))),
      }),
      { maxLength: 8 },
    ),
  );

test('decodeImports() gives back what encodeImports() took', t => {
  fc.assert(fc.property(imports, list => t.deepEqual(decodeImports(encodeImports(list)), list)));
});

// Laid out by hand from the bit fields of mach-o/fixup-chains.h.
test('decodeImports() reads the three formats', t => {
  const symbolsBytes = text('\0_a\0_b\0');
  const of = (importsFormat: number, hex: string) =>
    decodeImports({ importsFormat, importsBytes: bytes(hex), symbolsBytes });
  t.deepEqual(of(1, '01020000 fe090000'), [
    newImport({}),
    newImport({ libOrdinal: -2, weak: true, symbol: '_b' }),
  ]);
  t.deepEqual(of(2, 'f0020000 ffffffff'), [newImport({ libOrdinal: 240, addend: -1n })]);
  t.deepEqual(of(3, 'fdff0100 04000000 00000000 00000080'), [
    newImport({ libOrdinal: -3, weak: true, symbol: '_b', addend: -(2n ** 63n) }),
  ]);
});

test('encodeImports() takes the smallest format that holds all', t => {
  const formats: [Partial<ChainedImport>, number][] = [
    [{ libOrdinal: 240 }, 1],
    [{ libOrdinal: -15 }, 1],
    [{ addend: -1n }, 2],
    [{ libOrdinal: 241 }, 3],
    [{ addend: 2n ** 31n }, 3],
  ];
  for (const [fields, format] of formats) {
    t.is(encodeImports([newImport({}), newImport(fields)]).importsFormat, format);
  }
});

test('encodeImports() writes each name once', t => {
  const { symbolsBytes } = encodeImports([
    newImport({}),
    newImport({ weak: true }),
    newImport({ symbol: '' }),
  ]);
  t.deepEqual(symbolsBytes, text('\0_a\0'));
});

const rejects = test.macro<[() => unknown, RegExp]>({
  exec(t, act, message) {
    t.is(t.throws(act, { instanceOf: FormatError, message })?.code, 'MACHO_BAD_IMPORTS');
  },
  title: (title = '') => title,
});
const decoded = (importsFormat: number, hex: string, symbols: string) => () =>
  decodeImports({ importsFormat, importsBytes: bytes(hex), symbolsBytes: text(symbols) });

test(
  'decodeImports() rejects an unknown format',
  rejects,
  decoded(4, '00000000', '\0'),
  /imports_format is 4/,
);
test('decodeImports() rejects a name past the end', rejects, decoded(1, '01040000', '\0a'), /name_offset/);
test(
  'decodeImports() rejects a name that does not end',
  rejects,
  decoded(1, '01020000', '\0a'),
  /name_offset/,
);
test(
  'decodeImports() rejects names that overlap too much',
  rejects,
  () => {
    const importsBytes = new Uint8Array(4 * 20_000);
    const view = new DataView(importsBytes.buffer);
    for (let i = 0; i < 20_000; i++) view.setUint32(4 * i, i << 9, true);
    decodeImports({ importsFormat: 1, importsBytes, symbolsBytes: text(`${'a'.repeat(20_000)}\0`) });
  },
  /overlap/,
);
const encoded = (fields: Partial<ChainedImport>) => () => encodeImports([newImport(fields)]);
test(
  'encodeImports() rejects a library of no format',
  rejects,
  encoded({ libOrdinal: 65_521 }),
  /libOrdinal/,
);
test('encodeImports() rejects a library below -15', rejects, encoded({ libOrdinal: -16 }), /libOrdinal/);
test('encodeImports() rejects an addend of 65 bits', rejects, encoded({ addend: 2n ** 63n }), /addend/);
test('encodeImports() rejects a NUL in a name', rejects, encoded({ symbol: 'a\0' }), /NUL/);

for (const [format, addend] of [
  [1, 255n],
  [2, -5n],
  [3, 0x12_3456_789an],
] as const) {
  test(`decodeImports() reads what lld writes for an addend of ${addend}`, t => {
    const directory = sandbox('formats-macho-imports');
    const source = join(directory, 'addend.c');
    writeFileSync(
      source,
      `void *malloc(unsigned long); void free(void *);
       char *imported = (char *)&malloc + ${addend}; void *other = (void *)&free; int main(void) { return 0; }`,
    );
    const how = { arch: 'x86_64', fixups: 'chained', directory, linkFlags: ['-no_adhoc_codesign'] } as const;
    const file = readMachO(bytesOf(compileMachO({ sources: [source], ...how })));
    const blob = wholeContents(findBlob(file, 'chained-fixups')?.contents ?? new Uint8Array(0));
    t.is(readChainedFixups(blob).importsFormat, format);
    const binds = readFixups(file).binds.map(({ symbol, libOrdinal, addend, weak }) => {
      return { symbol, libOrdinal, addend, weak };
    });
    const common = { libOrdinal: 1, weak: false };
    t.deepEqual(binds, [
      { symbol: '_malloc', addend, ...common },
      { symbol: '_free', addend: 0n, ...common },
    ]);
  });
}
