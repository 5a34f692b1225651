import test from 'ava';
import fc from 'fast-check';
import { DF_1, PF, PT, SHF, SHT } from '../../formats/elf/constants.ts';
import { flagNames, nameOf } from '../../formats/names.ts';

test('nameOf() gives the C name of a value, number or bigint', t => {
  t.is(nameOf(PT, 1), 'PT_LOAD');
  t.is(nameOf(SHT, 0x6ffffff6n), 'SHT_GNU_HASH');
});

test('nameOf() gives an unknown value in hexadecimal', t => {
  t.is(nameOf(PT, 0x6474e5ff), '0x6474e5ff');
  t.is(nameOf(PT, 0xffff_ffff_ffff_fff1n), '0xfffffffffffffff1');
});

test('nameOf() takes the first of two names for one value', t => {
  t.is(nameOf({ FIRST: 3, SECOND: 3 }, 3), 'FIRST');
});

test('nameOf() gives no name to a 64-bit value that rounds to a named one', t => {
  t.is(nameOf({ BIG: 2 ** 53 }, 2n ** 53n + 1n), '0x20000000000001');
});

const flags = test.macro<[Readonly<Record<string, number>>, number | bigint, string]>({
  exec: (t, table, bits, expected) => t.is(flagNames(table, bits), expected),
  title: (_, __, bits, expected) => `flagNames() of 0x${bits.toString(16)} is ${expected}`,
});
test(flags, PF, 5, 'PF_R|PF_X');
test(flags, PF, 7, 'PF_R|PF_W|PF_X');
test(flags, PF, 0, '0');
test(flags, PF, 0xc, 'PF_R|0x8');
test(flags, PF, 0x100000, '0x100000');
test(flags, SHF, 0x80000003, 'SHF_WRITE|SHF_ALLOC|SHF_EXCLUDE');
test(flags, SHF, 0x8000_0000_0000_0002n, 'SHF_ALLOC|0x8000000000000000');
test(flags, DF_1, 0x08000001, 'DF_1_NOW|DF_1_PIE');

test('flagNames() loses no bit: the names and the rest add up to the value', t => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), bits => {
      const table: Readonly<Record<string, number>> = SHF;
      const sum = flagNames(SHF, bits)
        .split('|')
        .reduce((total, name) => total | BigInt(table[name] ?? name), 0n);
      t.is(sum, bits);
    }),
  );
});
