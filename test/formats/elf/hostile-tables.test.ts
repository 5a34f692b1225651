/** Files whose dynamic section and tables are spoiled: what reads or grows them gives a result or a FormatError. */
import test from 'ava';
import fc from 'fast-check';
import {
  encodeImportTables,
  FormatError,
  importSymbols,
  readDynamic,
  readDynamicRelocations,
  readElf,
  readImportTables,
  SHT,
  STT,
  verifyElf,
  writeDynamic,
} from '../../../formats/elf/index.ts';
import { compiled } from './support/tools.ts';

const SOURCE = `
#include <stdio.h>
int a, *words[80] = {&a, [70] = &a}; int exported(void) { return a; }
int main(void) { return printf("%p", (void *)words[0]); }`;

const program = compiled(SOURCE, ['-rdynamic', '-Wl,-z,pack-relative-relocs', '-Wl,--hash-style=both']);
const TABLES: ReadonlySet<number> = new Set([
  SHT.SHT_DYNAMIC,
  SHT.SHT_GNU_HASH,
  SHT.SHT_HASH,
  SHT.SHT_DYNSYM,
  SHT.SHT_GNU_versym,
  SHT.SHT_GNU_verneed,
  SHT.SHT_RELA,
  SHT.SHT_RELR,
]);
/** Where the tables are in the file. */
const places = readElf(program).sections.filter(({ type }) => TABLES.has(type));

const LIMITS = [0n, 1n, 7n, 23n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

const mutation = fc.record({
  place: fc.nat(places.length - 1),
  at: fc.nat(),
  width: fc.constantFrom(2, 4, 8),
  value: fc.oneof(fc.constantFrom(...LIMITS), fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 0x4000n)),
});

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError && error.code !== '' && error.message !== '') return undefined;
    throw error;
  }
}

test('spoiled tables give relocations and imports, or a FormatError', t => {
  const counts = { relocations: 0, imports: 0 };
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), mutations => {
      const bytes = program.slice();
      const view = new DataView(bytes.buffer);
      for (const { place, at, width, value } of mutations) {
        const { offset = 0, size = 8 } = places[place] ?? {};
        const where = offset + ((Math.floor(at / 8) * 8) % Math.max(8, size - 7));
        if (width === 8) view.setBigUint64(where, value, true);
        else if (width === 4) view.setUint32(where, Number(BigInt.asUintN(32, value)), true);
        else view.setUint16(where, Number(BigInt.asUintN(16, value)), true);
      }
      const start = performance.now();
      const file = readElf(bytes);
      if (attempt(() => readDynamicRelocations(file))) counts.relocations++;
      const grown = attempt(() => {
        const wanted = { library: 'libz.so.1', version: 'ZLIB_1.2' };
        const { tables } = importSymbols(readImportTables(file), [{ name: 'x', type: STT.STT_FUNC, wanted }]);
        return encodeImportTables(tables);
      });
      if (grown) counts.imports++;
      attempt(() => writeDynamic(file, readDynamic(file)));
      attempt(() => verifyElf(file));
      t.true(performance.now() - start < 5000);
    }),
    { numRuns: 1500 },
  );
  t.log(`${counts.relocations} and ${counts.imports} of 1500 could still be read`);
  t.true(counts.relocations > 100 && counts.imports > 100);
  t.true(process.memoryUsage().rss < 2 ** 30);
});
