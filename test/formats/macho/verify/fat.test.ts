import { readFileSync } from 'node:fs';
import test from 'ava';
import { type FatFile, readFat, verifyFat } from '../../../../formats/macho/index.ts';
import { fat } from '../support/tools.ts';
import { base } from '../support/verify.ts';

const bytes = new Uint8Array(readFileSync(fat(base('info'), base('arm'))));

/** fat_arch: cputype, cpusubtype, offset, size, align; big-endian. The first is at 8. */
const at = (offset: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, false);
const spoiled = (...changes: readonly (readonly [at: number, value: number])[]): FatFile => {
  const copy = bytes.slice();
  for (const [at, value] of changes) new DataView(copy.buffer).setUint32(at, value, false);
  return readFat(copy);
};
const codes = (file: FatFile): string[] => verifyFat(file).map(({ code }) => code);

test('verifyFat() finds nothing in what lipo makes', t => {
  t.deepEqual(verifyFat(spoiled()), []);
});

const breakages: readonly (readonly [
  what: string,
  code: string,
  ...changes: (readonly [number, number])[],
])[] = [
  ['a slice off the pages of its machine', 'MACHO_FAT_ALIGN', [28 + 8, 0x7800]],
  ['an alignment that is not there', 'MACHO_FAT_ALIGN', [8 + 16, 15]],
  ['slices that overlap', 'MACHO_FAT_OVERLAP', [8 + 8, 0x8000]],
  ['two slices of a machine', 'MACHO_FAT_TWICE', [28, at(8)], [32, at(12)]],
  ['a slice of another machine', 'MACHO_FAT_CPU', [28, 0x0100_0007]],
];
for (const [what, code, ...changes] of breakages) {
  test(`verifyFat() finds ${what}: ${code}`, t => {
    t.true(codes(spoiled(...changes)).includes(code), codes(spoiled(...changes)).join(' '));
  });
}
