import test from 'ava';
import { findNumber, findSections, offsetOf } from '../../../cli/map/find.ts';
import { bytesOf, compiled } from '../../formats/elf/support/tools.ts';
import { fat, linked } from '../../formats/macho/support/tools.ts';
import { mapDataOfBytes } from '../../support/map-data.ts';

const PROGRAM = mapDataOfBytes(
  compiled('int zeros[9999]; int main(void) { return zeros[0]; }', ['-no-pie']),
  'program',
);

test('a number is an address, an offset, or both', t => {
  const text = PROGRAM.parts.find(({ name }) => name === '.text');
  const address = (text?.address ?? 0n) + 5n;
  t.deepEqual(findNumber(PROGRAM, address), [
    {
      text: `Address 0x${address.toString(16)}: .text`,
      image: 0,
      address,
      offset: (text?.offset ?? 0) + 5,
    },
  ]);
  t.deepEqual(findNumber(PROGRAM, BigInt(text?.offset ?? 0)), [
    {
      text: `File offset 0x${text?.offset.toString(16)}: .text`,
      image: 0,
      address: text?.address,
      offset: text?.offset,
    },
  ]);
  t.deepEqual(findNumber(PROGRAM, 0xdead_beef_0000n), []);
});

test('an address may be in every slice of a fat file', t => {
  const slices = [
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  ];
  const found = findNumber(mapDataOfBytes(bytesOf(fat(...slices)), 'fat'), 0x1_0000_0000n);
  t.deepEqual(
    found.map(({ text, image }) => [text, image]),
    [
      ['Address 0x100000000 in x86_64: Mach-O header', 0],
      ['Address 0x100000000 in arm64: Mach-O header', 1],
    ],
  );
  t.not(found[0]?.offset, found[1]?.offset);
});

test('sections are found by a part of their name, those without bytes in the file, too', t => {
  t.deepEqual(
    findSections(PROGRAM, 'BSS').map(({ text, offset }) => [text, offset]),
    [['Section .bss', undefined]],
  );
  t.true(findSections(PROGRAM, 'dyn').length >= 3);
  t.deepEqual(findSections(PROGRAM, 'padding'), []);
});

test('an address without bytes in the file has no offset', t => {
  const bss = PROGRAM.images[0]?.memory.find(({ name }) => name === '.bss');
  t.is(offsetOf(PROGRAM, 0, bss?.address), undefined);
  t.is(offsetOf(PROGRAM, 0, undefined), undefined);
});
