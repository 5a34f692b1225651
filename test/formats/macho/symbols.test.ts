/** The symbol table and the indirect symbol table. */
import test from 'ava';
import fc from 'fast-check';
import {
  decodeSymbols,
  encodeSymbols,
  FormatError,
  findSection,
  findSegment,
  indirectSymbolsOf,
  isInSection,
  isStab,
  isUndefined,
  libraryOrdinal,
  machoBytes,
  N_DESC,
  newSection,
  newSymbol,
  readIndirectSymbols,
  readMachO,
  readSymbols,
  relayLinkedit,
  S,
  STAB,
  sectionsOf,
  setBlob,
} from '../../../formats/macho/index.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, linked, object, onDisk, output } from './support/tools.ts';

const anySymbol = fc.record({
  name: fc.string({ unit: 'binary' }).filter(name => !name.includes('\0') && !name.includes('\ufffd')),
  type: fc.nat(0xff),
  section: fc.nat(0xff),
  desc: fc.nat(0xffff),
  value: fc.bigInt(0n, 2n ** 64n - 1n),
});

test('decodeSymbols() gives what encodeSymbols() was given', t => {
  fc.assert(
    fc.property(fc.array(anySymbol), symbols => {
      const { symbols: table, strings } = encodeSymbols(symbols);
      t.deepEqual(decodeSymbols(table, strings), symbols);
    }),
  );
});

test('names are stored once, and offset 0 is no name', t => {
  const { strings } = encodeSymbols(['_a', '_b', '_a', ''].map(name => newSymbol({ name, value: 0n })));
  t.is(Buffer.from(strings).toString(), ' \0_a\0_b\0');
  t.throws(() => encodeSymbols([newSymbol({ name: 'a\0b', value: 0n })]), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_STRING',
    message: /^Mach-O: /,
  });
});

test('a name outside of the strings is refused', t => {
  const { symbols, strings } = encodeSymbols([newSymbol({ name: '_main', value: 0n })]);
  for (const names of [strings.subarray(0, 2), strings.subarray(0, strings.length - 1), new Uint8Array(0)]) {
    t.throws(() => decodeSymbols(symbols, names), { instanceOf: FormatError, code: 'MACHO_BAD_STRING' });
  }
});

test('symbols that we write are what llvm-nm reads', t => {
  const symbols = [
    newSymbol({ name: 'x.c', value: 0n, type: STAB.N_SO }),
    newSymbol({ name: '_weak', value: 0x1_0000_1000n, type: 0xf, section: 2, desc: N_DESC.N_WEAK_DEF }),
    newSymbol({ name: '_absolute', value: 0x42n }),
    newSymbol({ name: '_elsewhere', value: 0n, type: 1, desc: 0x100 }),
    newSymbol({ name: '_ünïcödé', value: 0x1_0000_1001n, type: 0xe, section: 2 }),
  ];
  const file = tiny();
  const { symbols: table, strings } = encodeSymbols(symbols);
  setBlob(file, 'symbols', table);
  setBlob(file, 'strings', strings);
  // The dynamic table says how many there are of each kind, in another order than these.
  file.commands = file.commands.filter(({ cmd }) => cmd !== 0xb);
  const path = onDisk(machoBytes(file));
  const lines = output('llvm-nm-19', '-a', '-p', path)
    .split('\n')
    .map(line => line.trim());
  t.deepEqual(lines.slice(0, 5), [
    '0000000000000000 - 00 0000    SO x.c',
    '0000000100001000 D _weak',
    '0000000000000042 A _absolute',
    'U _elsewhere',
    '0000000100001001 d _ünïcödé',
  ]);
  t.deepEqual(readSymbols(readMachO(bytesOf(path))), symbols);
});

test('kinds of symbols are told apart', t => {
  const file = readMachO(bytesOf(linked({ arch: 'arm64', fixups: 'chained' })));
  const named = (name: string) => {
    const found = readSymbols(file).find(symbol => symbol.name === name && !isStab(symbol));
    if (!found) throw new Error(name);
    return found;
  };
  t.true(isInSection(named('_main')));
  t.true(isUndefined(named('_printf')));
  t.is(libraryOrdinal(named('_printf')), 1);
  const stabs = readSymbols(file).filter(isStab);
  t.true(stabs.length > 0);
  t.true(stabs.every(symbol => !isInSection(symbol) && !isUndefined(symbol)));
  t.is(sectionsOf(file)[named('_one').section - 1], findSection(file, '__DATA', '__data'));
});

test('a file without a symbol table has no symbols', t => {
  const file = tiny();
  file.linkedit = [];
  t.deepEqual([readSymbols(file).length, readIndirectSymbols(file).length], [0, 0]);
});

test('indirect symbols of a section are those of its stubs and pointers', t => {
  const file = readMachO(bytesOf(linked({ arch: 'x86_64', fixups: 'dyld-info' })));
  const names = readSymbols(file).map(({ name }) => name);
  const indirect = readIndirectSymbols(file);
  const namesOf = (segname: string, sectname: string): (string | undefined)[] => {
    const section = findSection(file, segname, sectname);
    return section ? [...indirectSymbolsOf(section, indirect)].map(index => names[index]) : [];
  };
  t.deepEqual(namesOf('__TEXT', '__stubs'), ['_printf', '_maybe']);
  t.deepEqual(namesOf('__DATA', '__la_symbol_ptr'), ['_printf', '_maybe']);
  t.deepEqual(namesOf('__TEXT', '__text'), []);
});

test('a section that claims more indirect symbols than there are is refused', t => {
  for (const [reserved1, size] of [
    [0, 24n],
    [3, 8n],
    [0xffff_ffff, 8n],
    [0, 2n ** 64n - 8n],
  ] as const) {
    const section = newSection({
      sectname: '__got',
      segname: '__DATA',
      flags: S.S_NON_LAZY_SYMBOL_POINTERS,
      reserved1,
      size,
    });
    t.throws(() => indirectSymbolsOf(section, Uint32Array.of(1, 2)), {
      instanceOf: FormatError,
      code: 'MACHO_BAD_SECTION',
    });
  }
});

test('symbols survive when __LINKEDIT is laid out elsewhere', t => {
  const original = readMachO(bytesOf(linked({ arch: 'arm64', fixups: 'chained' })));
  const symbols = readSymbols(original);
  const linkedit = findSegment(original, '__LINKEDIT');
  relayLinkedit(original, (linkedit?.fileoff ?? 0) + 0x8000);
  t.deepEqual(readSymbols(readMachO(machoBytes(original))), symbols);
});

test('symbols of an object are read', t => {
  const file = readMachO(bytesOf(object('x86_64')));
  const common = readSymbols(file).find(({ name }) => name === '_imported');
  t.true(common && isInSection(common));
});
