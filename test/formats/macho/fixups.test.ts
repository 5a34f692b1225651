import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import {
  contentsSize,
  decodeExports,
  decodeFunctionStarts,
  encodeBinds,
  encodeChainedFixups,
  encodeImports,
  encodeRebases,
  type FileFixups,
  findBlob,
  findSection,
  findSegment,
  fixupStyle,
  type LinkeditKind,
  type MachOFile,
  readChainedFixups,
  readCodeSignature,
  readFixups,
  readMachO,
  readSymbols,
  sectionContents,
  segmentsOf,
  setBlob,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { FIXUP_STYLES, MACHO_ARCHES } from '../../support/macho/toolchain.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, linked } from './support/tools.ts';

const blobOf = (file: MachOFile, kind: LinkeditKind): Uint8Array =>
  wholeContents(findBlob(file, kind)?.contents ?? new Uint8Array(0));
const symbolAddress = (file: MachOFile, symbol: string): bigint | undefined =>
  readSymbols(file).find(({ name }) => name === symbol)?.value;
const rebaseAt = ({ rebases }: FileFixups, address: bigint | undefined) =>
  Array.from(rebases).find(rebase => rebase.address === address);

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    test(`readFixups() finds pointers and imports of a program, ${arch} ${fixups}`, t => {
      const file = readMachO(bytesOf(linked({ arch, fixups })));
      const found = readFixups(file);
      t.is(found.style, fixups);
      t.is(found.pointerFormat, fixups === 'chained' ? 2 : undefined);
      // The table of functions: f, g, f.
      const table = symbolAddress(file, '_table') ?? 0n;
      const [f, g] = [symbolAddress(file, '_f'), symbolAddress(file, '_g')];
      t.deepEqual(
        [0n, 8n, 16n].map(offset => rebaseAt(found, table + offset)?.target),
        [f, g, f],
      );
      t.true(f !== undefined && g !== undefined && f !== g);

      const imported = found.binds.find(({ address }) => address === symbolAddress(file, '_imported'));
      t.is(imported?.symbol, '_malloc');
      t.is(imported?.libOrdinal, 1);
      t.is(imported?.addend, 0n);
      t.is(imported?.importOrdinal !== undefined, fixups === 'chained');
      const printf = found.binds.filter(({ symbol }) => symbol === '_printf');
      t.deepEqual(
        printf.map(({ lazy }) => lazy),
        [fixups === 'dyld-info'],
      );
      t.is(found.rebases.length, Array.from(found.rebases).length);
    });
  }
}

test('readFixups() gives no fixups of a file that has none', t => {
  t.is(fixupStyle(tiny()), 'none');
  const { style, rebases, binds } = readFixups(tiny());
  t.deepEqual({ style, rebases: rebases.length, binds }, { style: 'none', rebases: 0, binds: [] });
});

test('readFixups() gives the whole word where opcodes rebase, and zeros beyond the bytes of the file', t => {
  const file = readMachO(bytesOf(linked({ arch: 'x86_64', fixups: 'dyld-info' })));
  const data = findSegment(file, '__DATA');
  if (!data) throw new Error('the sample has a __DATA');
  const segment = segmentsOf(file).indexOf(data);
  const size = data.filesize;
  data.contents = new Uint8Array(size).fill(0xfe);
  data.vmsize = BigInt(size + 0x1000);
  setBlob(file, 'rebase', encodeRebases([{ segment, offsets: [0, 9, size - 4, size + 8] }]));
  setBlob(file, 'lazy-bind', new Uint8Array(0));
  setBlob(file, 'bind', encodeBinds({ binds: [], strong: [] }, 'bind'));
  t.deepEqual(
    Array.from(readFixups(file).rebases, ({ address, target }) => [address - data.vmaddr, target]),
    [
      [0n, 0xfefe_fefe_fefe_fefen],
      [9n, 0xfefe_fefe_fefe_fefen],
      [BigInt(size - 4), 0xfefe_fefen],
      [BigInt(size + 8), 0n],
    ],
  );
});

test('readFixups() adds the addend of the word to that of the import', t => {
  const file = readMachO(bytesOf(linked({ arch: 'arm64', fixups: 'chained' })));
  const fixups = readChainedFixups(blobOf(file, 'chained-fixups'));
  const imports = fixups.imports.map(symbol => ({ ...symbol, addend: -5n }));
  setBlob(file, 'chained-fixups', encodeChainedFixups({ ...fixups, ...encodeImports(imports) }));
  const { binds } = readFixups(file);
  t.true(binds.length > 0 && binds.every(({ addend }) => addend === -5n));
  const [first] = binds;
  const section = segmentsOf(file).find(({ vmaddr, filesize }) => {
    const offset = (first?.address ?? 0n) - vmaddr;
    return offset >= 0n && offset < BigInt(filesize);
  });
  if (!first || !section?.contents) throw new Error('the sample has binds');
  const contents = wholeContents(section.contents).slice();
  // addend: the highest byte of the lower half.
  contents[Number(first.address - section.vmaddr) + 3] = 7;
  section.contents = contents;
  t.is(readFixups(file).binds[0]?.addend, 2n);
});

test('readFixups() rejects starts of another segment, and an ordinal of no import', t => {
  const file = readMachO(bytesOf(linked({ arch: 'arm64', fixups: 'chained' })));
  const fixups = readChainedFixups(blobOf(file, 'chained-fixups'));
  const change = (fields: Partial<typeof fixups>) => {
    setBlob(file, 'chained-fixups', encodeChainedFixups({ ...fixups, ...fields }));
    return () => readFixups(file);
  };
  const shifted = fixups.segments.map(segment => segment && { ...segment, segmentOffset: 0x1_0000_0000n });
  t.throws(change({ segments: shifted }), {
    instanceOf: FormatError,
    message: /segment_offset of segment \d/,
  });
  const [segment] = fixups.segments.filter(starts => starts !== undefined);
  const more = [...fixups.segments, segment];
  t.throws(change({ segments: more }), { instanceOf: FormatError, message: /no starts where no segment is/ });
  const none = { importsBytes: new Uint8Array(0) };
  t.throws(change(none), { instanceOf: FormatError, message: /has the ordinal \d+, expected less than 0/ });
});

/** Reads everything of __LINKEDIT that these modules read. */
function readAll(file: MachOFile): void {
  readFixups(file);
  for (const kind of ['export', 'exports-trie'] as const) decodeExports(blobOf(file, kind));
  decodeFunctionStarts(blobOf(file, 'function-starts'));
  if (findBlob(file, 'code-signature')) readCodeSignature(blobOf(file, 'code-signature'));
  const got = findSection(file, '__DATA_CONST', '__got');
  if (got) sectionContents(file, got);
}

for (const fixups of FIXUP_STYLES) {
  test(`a file whose bytes were changed or cut gives its contents or a FormatError, ${fixups}`, t => {
    const good = bytesOf(linked({ arch: 'arm64', fixups }));
    const model = readMachO(good);
    const places: [number, number][] = [
      [0, 0x800],
      ...model.linkedit.map(({ offset, contents }): [number, number] => [
        offset ?? 0,
        contentsSize(contents),
      ]),
      ...segmentsOf(model).map(({ fileoff, filesize }): [number, number] => [fileoff, filesize]),
    ];
    const at = fc
      .constantFrom(...places.filter(([, size]) => size > 0))
      .chain(([offset, size]) => fc.nat(Math.min(size, 0x4000) - 1).map(within => offset + within));
    const byte = fc.oneof(fc.constantFrom(0, 0x7f, 0x80, 0xff), fc.nat(255));
    const change = fc.array(fc.tuple(at, byte), { minLength: 1, maxLength: 6 });
    const cut = fc.oneof({ weight: 5, arbitrary: fc.constant(good.length) }, { weight: 1, arbitrary: at });
    fc.assert(
      fc.property(change, cut, (changes, length) => {
        const bytes = good.slice(0, length);
        for (const [offset, value] of changes) if (offset < length) bytes[offset] = value;
        try {
          readAll(readMachO(bytes));
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
    t.pass();
  });
}
