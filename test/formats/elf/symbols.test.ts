import test from 'ava';
import fc from 'fast-check';
import { SHN, SHT, STB, STT } from '../../../formats/elf/constants.ts';
import { findSection } from '../../../formats/elf/find.ts';
import { addSection, type ElfFile, newElf, newSection } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { StringTable } from '../../../formats/elf/strings.ts';
import {
  decodeSymbols,
  type ElfSymbol,
  encodeSymbols,
  newSymbol,
  readSymbols,
} from '../../../formats/elf/symbols.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { bytesOf, compile, manySections, output } from './support/tools.ts';

const anySymbol: fc.Arbitrary<ElfSymbol> = fc
  .record({
    name: fc.string().map(text => text.replaceAll('\0', '')),
    value: fc.bigInt(0n, 2n ** 64n - 1n),
    size: fc.maxSafeNat(),
    type: fc.nat(15),
    bind: fc.nat(15),
    visibility: fc.nat(3),
    other: fc.nat(0x3f).map(bits => bits << 2),
    sectionIndex: fc.nat(0xfffe),
    extended: fc.boolean(),
  })
  .map(symbol => (symbol.extended ? { ...symbol, sectionIndex: symbol.sectionIndex * 0x10001 } : symbol));

test('decodeSymbols() gives back what encodeSymbols() took, each where indices says', t => {
  fc.assert(
    fc.property(fc.array(anySymbol), symbols => {
      const { symtab, strtab, shndx, indices, firstGlobal } = encodeSymbols(symbols);
      const decoded = decodeSymbols(symtab, new StringTable(strtab), shndx);
      t.deepEqual(
        [...indices].map(index => decoded[index]),
        symbols,
      );
      t.is(decoded.length, symbols.length + 1);
      t.deepEqual(decoded[0], newSymbol({ name: '', value: 0n, bind: STB.STB_LOCAL }));
      t.deepEqual(
        decoded.map(({ bind }) => bind === STB.STB_LOCAL),
        decoded.map((_, i) => i < firstGlobal),
      );
    }),
  );
});

const programs = test.macro<[string, readonly string[], string]>({
  exec(t, _title, args, section) {
    const source = `
      static int counter; int shared_word = 7; _Thread_local int per_thread;
      __attribute__((weak)) int weak_one(void) { return 1; }
      __attribute__((visibility("hidden"))) int hidden_one(void) { return counter++; }
      extern int missing(void) __attribute__((weak));
      int f\u00fcnf(void) { return 5; }
      int main(void) { return hidden_one() + weak_one() + per_thread + (missing ? missing() : 0); }`;
    const path = compile(source, args);
    const file = readElf(bytesOf(path));
    const table = findSection(file, section);
    if (!table) throw new Error(`no ${section}`);
    const ours = readSymbols(file, table).map(symbol => symbolLine(symbol, file));
    t.deepEqual(ours, readelfSymbols(path, section));
    t.true(ours.length > 5);
  },
  title: (_, title) => `readSymbols() reads ${title} as readelf does`,
});
test(programs, 'a program', [], '.symtab');
test(programs, 'an object file', ['-c'], '.symtab');
test(programs, 'the dynamic symbols of a library', ['-shared', '-fPIC'], '.dynsym');

test('readSymbols() reads indices beyond 0xff00 from SHT_SYMTAB_SHNDX', t => {
  const file = readElf(bytesOf(manySections(66_000)));
  const table = findSection(file, '.symtab');
  if (!table) throw new Error('no .symtab');
  t.true(file.sections.length > 66_000);
  const last = readSymbols(file, table).find(({ name }) => name === 'in_65999');
  t.is(last?.extended, true);
  t.is(file.sections[last?.sectionIndex ?? 0]?.name, '.s65999');
});

test('readSymbols() refuses a table whose sh_link is no string table', t => {
  const file = newElf({ type: 1 });
  const section = newSection({
    name: '.symtab',
    type: SHT.SHT_SYMTAB,
    link: 1,
    contents: new Uint8Array(24),
  });
  addSection(file, section);
  t.throws(() => readSymbols(file, section), {
    instanceOf: FormatError,
    code: 'ELF_BAD_SYMBOLS',
    message: 'ELF: sh_link of ".symtab" is 1, expected an SHT_STRTAB section',
  });
});

test('readSymbols() finds none in a table without contents, as separate debug files have it', t => {
  const file = newElf({ type: 3 });
  t.deepEqual(readSymbols(file, newSection({ name: '.dynsym', type: SHT.SHT_NOBITS, size: 240 })), []);
});

test('decodeSymbols() refuses SHN_XINDEX without its table', t => {
  const { symtab, strtab, shndx } = encodeSymbols([
    newSymbol({ name: 'a', value: 0n, sectionIndex: 9, extended: true }),
  ]);
  const names = new StringTable(strtab);
  t.is(decodeSymbols(symtab, names, shndx)[1]?.sectionIndex, 9);
  const expected = { instanceOf: FormatError, code: 'ELF_BAD_SYMBOLS', message: /symbol 1 is SHN_XINDEX/ };
  t.throws(() => decodeSymbols(symtab, names), expected);
  t.throws(() => decodeSymbols(symtab, names, shndx?.subarray(0, 7)), expected);
});

test('decodeSymbols() refuses a size beyond 2^53', t => {
  const { symtab, strtab } = encodeSymbols([newSymbol({ name: 'a', value: 0n })]);
  symtab[24 + 22] = 0x20;
  t.throws(() => decodeSymbols(symtab, new StringTable(strtab)), {
    instanceOf: FormatError,
    code: 'ELF_BAD_SYMBOLS',
  });
  symtab[24 + 22] = 0x1f;
  t.is(decodeSymbols(symtab, new StringTable(strtab))[1]?.size, 0x1f * 2 ** 48);
});

test('encodeSymbols() refuses a section index that does not fit unless it is extended', t => {
  const symbol = newSymbol({ name: 'far', value: 0n, sectionIndex: 0x10000 });
  t.throws(() => encodeSymbols([symbol]), { instanceOf: FormatError, code: 'ELF_BAD_SYMBOLS' });
  t.notThrows(() => encodeSymbols([{ ...symbol, extended: true }]));
});

test('a table of 300,000 symbols is written and read within seconds, through a file', t => {
  const symbols = Array.from({ length: 300_000 }, (_, i) =>
    newSymbol({
      name: `_ZN5table6memberILi${i}EEvv`,
      value: BigInt(i) * 16n,
      size: 16,
      bind: i & 1,
      type: STT.STT_FUNC,
      sectionIndex: SHN.SHN_ABS,
    }),
  );
  const start = performance.now();
  const { symtab, strtab, firstGlobal } = encodeSymbols(symbols);
  const encoded = performance.now();
  const file = newElf({ type: 2 });
  addSection(
    file,
    newSection({
      name: '.symtab',
      type: SHT.SHT_SYMTAB,
      link: 2,
      info: firstGlobal,
      align: 8,
      entsize: 24,
      contents: symtab,
    }),
  );
  addSection(file, newSection({ name: '.strtab', type: SHT.SHT_STRTAB, contents: strtab }));
  const read = readElf(elfBytes(file));
  const opened = performance.now();
  const section = findSection(read, '.symtab');
  const found = section ? readSymbols(read, section) : [];
  const end = performance.now();
  t.log(`encoded in ${(encoded - start).toFixed()} ms, read in ${(end - opened).toFixed()} ms`);
  t.is(found.length, 300_001);
  t.is(found[300_000]?.name, '_ZN5table6memberILi299999EEvv');
  t.true(end - start < 10_000);
});

/** Our symbol in the words of `readelf -sW`. */
function symbolLine(symbol: ElfSymbol, file: ElfFile): string {
  const { value, size, type, bind, visibility, sectionIndex, extended } = symbol;
  const types = ['NOTYPE', 'OBJECT', 'FUNC', 'SECTION', 'FILE', 'COMMON', 'TLS'];
  const special = extended ? undefined : { 0: 'UND', 65521: 'ABS', 65522: 'COM' }[sectionIndex];
  return [
    value.toString(16).padStart(16, '0'),
    size,
    types[type],
    ['LOCAL', 'GLOBAL', 'WEAK'][bind],
    ['DEFAULT', 'INTERNAL', 'HIDDEN', 'PROTECTED'][visibility],
    special ?? sectionIndex,
    // readelf calls the symbol of a section what the section is called.
    type === STT.STT_SECTION ? file.sections[sectionIndex]?.name : symbol.name.replace(/@.*/, ''),
  ].join(' ');
}

/** `   Num:    Value          Size Type    Bind   Vis      Ndx Name`, without versions. */
function readelfSymbols(path: string, section: string): string[] {
  const text = output('readelf', ['-sW', '--sym-base=10', path]);
  const table = text.split('\nSymbol table ').find(part => part.includes(`'${section}'`)) ?? '';
  return [...table.matchAll(/^ *\d+: (\S+) +(\d+) (\S+) +(\S+) +(\S+) +(?:\[.*?\] +)?(\S+) ?(.*)$/gm)].map(
    ([, value, size, type, bind, visibility, index, name = '']) =>
      [value, size, type, bind, visibility, index, name.replace(/@.*/, '')].join(' '),
  );
}
