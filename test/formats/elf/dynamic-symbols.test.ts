import test from 'ava';
import { DT, PT } from '../../../formats/elf/constants.ts';
import { readDynamic } from '../../../formats/elf/dynamic.ts';
import { readDynamicSymbols } from '../../../formats/elf/dynamic-symbols.ts';
import { atAddress, findSection } from '../../../formats/elf/find.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { readSymbols } from '../../../formats/elf/symbols.ts';
import { FormatError } from '../../../formats/errors.ts';
import { withoutSections } from './support/files.ts';
import { bytesOf, compile } from './support/tools.ts';

const SOURCE = `
  #include <math.h>
  int a(void) { return 1; } int b(void) { return 2; } int c = 3; _Thread_local int d = 4;
  double e(double x) { return cos(x); }`;
const build = (...args: string[]): Uint8Array =>
  bytesOf(compile(SOURCE, ['-shared', '-fPIC', '-lm', ...args]));

for (const style of ['gnu', 'sysv', 'both']) {
  test(`readDynamicSymbols() finds the symbols of .dynsym without section headers, hash style ${style}`, t => {
    const bytes = build(`-Wl,--hash-style=${style}`);
    const file = readElf(bytes);
    const dynsym = findSection(file, '.dynsym');
    const bySections = dynsym ? readSymbols(file, dynsym) : [];
    t.true(bySections.length > 7);
    t.deepEqual(readDynamicSymbols(readElf(withoutSections(bytes))), bySections);
  });
}

test('readDynamicSymbols() finds the undefined symbols of a library that exports nothing', t => {
  const bytes = bytesOf(compile('static int unused;', ['-shared', '-fPIC', '-Wl,--hash-style=gnu']));
  const file = readElf(bytes);
  const dynsym = findSection(file, '.dynsym');
  const bySections = dynsym ? readSymbols(file, dynsym) : [];
  t.true(bySections.some(({ name }) => name === '__cxa_finalize'));
  t.deepEqual(readDynamicSymbols(readElf(withoutSections(bytes))), bySections);
});

test('readDynamicSymbols() finds nothing in a static program', t => {
  t.deepEqual(readDynamicSymbols(readElf(bytesOf(compile('int main(void) { return 0; }', ['-static'])))), []);
});

const spoiled = test.macro<[string, 'DT_HASH' | 'DT_GNU_HASH', readonly [number, number][], RegExp]>({
  exec(t, _title, table, words, message) {
    const bytes = build(`-Wl,--hash-style=${table === 'DT_HASH' ? 'sysv' : 'gnu'}`);
    const file = readElf(bytes);
    const address = readDynamic(file).find(({ tag }) => tag === DT[table])?.value ?? 0n;
    const at = atAddress(file, address)?.offset ?? 0;
    for (const [index, value] of words) new DataView(bytes.buffer).setUint32(at + 4 * index, value, true);
    t.throws(() => readDynamicSymbols(file), { instanceOf: FormatError, code: 'ELF_BAD_DYNAMIC', message });
  },
  title: (_, title, table) => `readDynamicSymbols() refuses a ${table} with ${title}`,
});
// nbucket, nchain.
test(spoiled, 'more symbols than the file holds', 'DT_HASH', [[1, 0xfffffff0]], /DT_SYMTAB goes on/);
// nbuckets, symoffset, bloom_size, bloom_shift, bloom[2 words each], buckets.
test(spoiled, 'four thousand million buckets', 'DT_GNU_HASH', [[0, 0xffffffff]], /DT_GNU_HASH goes on/);
test(spoiled, 'a bloom filter larger than the file', 'DT_GNU_HASH', [[2, 0xffffffff]], /DT_GNU_HASH goes on/);
test(
  spoiled,
  'a bucket beyond its chains',
  'DT_GNU_HASH',
  [
    [0, 1],
    [2, 0],
    [4, 0x7fffffff],
  ],
  /DT_GNU_HASH goes on/,
);

test('readDynamicSymbols() refuses a table of symbols without a hash table', t => {
  const bytes = build('-Wl,--hash-style=gnu');
  const file = readElf(bytes);
  const segment = file.segments.find(({ type }) => type === PT.PT_DYNAMIC);
  const view = new DataView(bytes.buffer);
  for (let at = segment?.offset ?? 0; view.getUint32(at, true) !== 0; at += 16) {
    if (view.getUint32(at, true) === DT.DT_GNU_HASH) view.setUint32(at, 0x6fff0000, true);
  }
  t.throws(() => readDynamicSymbols(file), {
    code: 'ELF_BAD_DYNAMIC',
    message: /without DT_HASH and DT_GNU_HASH/,
  });
});
