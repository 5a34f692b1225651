import { execFileSync } from 'node:child_process';
import test from 'ava';
import {
  decodeSymbols,
  type ElfSymbol,
  readBuildId,
  readElf,
  SHN,
  STB,
  StringTable,
} from '../../../../formats/elf/index.ts';
import { FileSource } from '../../../../unexec/file-source.ts';
import type { Module } from '../../../../unexec/image.ts';
import { joinSymbols, type SymbolTable } from '../../../../unexec/styles/resume/symbol-table.ts';
import { compileFixture } from '../../../support/fixtures.ts';

const BIAS = 0x5555_0000_0000n;
const LIBC_BIAS = 0x7fff_0000_0000n;
const program = moduleOf(compileFixture('image/sparse.c'), BIAS);
const libc = moduleOf('/lib/x86_64-linux-gnu/libc.so.6', LIBC_BIAS);

function moduleOf(path: string, bias: bigint): Module {
  const file = new FileSource(path);
  const buildId = readBuildId(readElf(file)) ?? '';
  file.close();
  return { path, bias, start: bias, end: bias + 0x100_0000n, buildId };
}

interface NmSymbol {
  readonly name: string;
  readonly address: bigint;
  readonly isGlobal: boolean;
}

/** Defined symbols as nm shows them, at addresses of the process. */
function nm(path: string, bias: bigint, ...flags: string[]): NmSymbol[] {
  const text = execFileSync('nm', [...flags, path], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return text.split('\n').flatMap(line => {
    const [, address, letter = '', name] = /^(\w{16}) (\w) (\S+?)(?:@.*)?$/.exec(line) ?? [];
    if (address === undefined || name === undefined || letter === 'A' || letter === 'a') return [];
    // Weak symbols have a small letter only where they are undefined.
    const isGlobal = letter === letter.toUpperCase() || letter === 'i' || letter === 'u';
    return [{ name, address: BigInt(`0x${address}`) + bias, isGlobal }];
  });
}

const decode = (table: SymbolTable): ElfSymbol[] =>
  decodeSymbols(table.symtab, new StringTable(table.strtab), table.shndx);

const said = ({ name, value }: { name: string; value: bigint }): string =>
  `${name.replace(/@.*/, '')} ${value.toString(16)}`;
const saidByNm = ({ name, address }: NmSymbol): string => `${name} ${address.toString(16)}`;

test('joinSymbols() has all the symbols that nm shows of a PIE, at its addresses in the process', t => {
  const symbols = decode(joinSymbols([program], () => 1));
  const [first, ...rest] = symbols;
  t.is(first?.name, '');
  t.is(first?.value, 0n);
  const expected = nm(program.path, BIAS);
  t.true(expected.length > 20);
  t.deepEqual(rest.map(said).sort(), expected.map(saidByNm).sort());
});

test('joinSymbols() puts local symbols first, and says where the global ones begin', t => {
  const table = joinSymbols([program, libc], () => 1);
  const symbols = decode(table);
  t.true(table.firstGlobal > 1 && table.firstGlobal < symbols.length);
  for (const [i, { bind }] of symbols.entries()) {
    t.is(bind === STB.STB_LOCAL, i < table.firstGlobal, `symbol ${i}`);
  }
  const globals = nm(program.path, BIAS).filter(({ isGlobal }) => isGlobal);
  t.deepEqual(symbols.slice(table.firstGlobal).map(said).sort(), globals.map(saidByNm).sort());
});

test('joinSymbols() takes the dynamic symbols of a library, as local ones', t => {
  const table = joinSymbols([program, libc], () => 1);
  const all = new Set(decode(table).slice(0, table.firstGlobal).map(said));
  const text = execFileSync('readelf', ['--dyn-syms', '-W', libc.path], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  let compared = 0;
  for (const line of text.split('\n')) {
    const [, value, , section, name] =
      /^ *\d+: (\w{16}) +\d+ (FUNC|OBJECT|IFUNC) +\w+ +\w+ +(\w+) ([^@\s]+)/.exec(line) ?? [];
    if (value === undefined || name === undefined || section === 'UND' || section === 'ABS') continue;
    t.true(all.has(`${name} ${(BigInt(`0x${value}`) + LIBC_BIAS).toString(16)}`), name);
    compared++;
  }
  t.true(compared > 2000, `${compared} symbols`);
});

test('joinSymbols() asks for the section of each address, and leaves others absolute', t => {
  const main = nm(program.path, BIAS).find(({ name }) => name === 'main');
  const table = joinSymbols([program], address => (address === main?.address ? 7 : undefined));
  for (const { name, sectionIndex } of decode(table).slice(1)) {
    t.is(sectionIndex, name === 'main' ? 7 : SHN.SHN_ABS, name);
  }
  t.is(table.shndx, undefined);
});

test('joinSymbols() puts section numbers that are too large into a table of their own', t => {
  const numbers = [SHN.SHN_LORESERVE - 1, SHN.SHN_LORESERVE, 70_000];
  let asked = 0;
  const table = joinSymbols([program], () => numbers[asked++ % numbers.length]);
  t.is(table.shndx?.length, (table.symtab.length / 24) * 4);
  const view = new DataView(table.symtab.buffer, table.symtab.byteOffset);
  const extended = new DataView(table.shndx?.buffer ?? new ArrayBuffer(0));
  for (let i = 1; i < table.symtab.length / 24; i++) {
    const expected = numbers[(i - 1) % numbers.length] ?? 0;
    const large = expected >= SHN.SHN_LORESERVE;
    t.is(view.getUint16(i * 24 + 6, true), large ? SHN.SHN_XINDEX : expected);
    t.is(extended.getUint32(i * 4, true), large ? expected : 0);
  }
});

test('joinSymbols() leaves out a module whose file is gone', t => {
  const gone = { ...program, path: '/nonexistent' };
  const table = joinSymbols([gone, libc], () => 1);
  t.is(table.firstGlobal, table.symtab.length / 24);
  t.true(table.firstGlobal > 1000);
  const nothing = joinSymbols([], () => 1);
  t.is(nothing.symtab.length, 24);
  t.is(nothing.firstGlobal, 1);
  t.deepEqual([...nothing.strtab], [0]);
});
