/** Segments, sections, and bytes by address. */
import test from 'ava';
import {
  atAddress,
  contentsSize,
  FormatError,
  findSection,
  findSegment,
  isZeroFill,
  machoBytes,
  readContents,
  readMachO,
  S,
  sectionContents,
  sectionsOf,
  sectionType,
  segmentsOf,
} from '../../../formats/macho/index.ts';
import { BASE, CODE, tiny } from './support/tiny.ts';
import { bytesOf, object } from './support/tools.ts';

test('segments and sections are found by name and number', t => {
  const file = readMachO(machoBytes(tiny()));
  t.deepEqual(
    segmentsOf(file).map(({ segname }) => segname),
    ['__PAGEZERO', '__TEXT', '__DATA', '__LINKEDIT'],
  );
  t.deepEqual(
    sectionsOf(file).map(({ sectname }) => sectname),
    ['__text', '__data', '__bss'],
  );
  t.is(findSegment(file, '__DATA')?.vmaddr, BASE + 0x1000n);
  t.is(findSegment(file, '__OTHER'), undefined);
  t.is(findSection(file, '__DATA', '__bss')?.size, 0x1000n);
  t.is(findSection(file, '__TEXT', '__bss'), undefined);
});

test('sections of an object are found by their own segment names', t => {
  const file = readMachO(bytesOf(object('arm64')));
  t.is(segmentsOf(file).length, 1);
  t.is(findSection(file, '__TEXT', '__text')?.segname, '__TEXT');
});

test('sectionContents() gives the bytes of a section, of none for zero-fill', t => {
  const file = readMachO(machoBytes(tiny()));
  const [text, data, bss] = sectionsOf(file);
  if (!text || !data || !bss) return t.fail();
  t.deepEqual([...sectionContents(file, text)], [...CODE]);
  t.deepEqual([...sectionContents(file, data)], [1, 2, 3, 4, 5, 6, 7, 8]);
  t.is(sectionContents(file, bss).length, 0);
  t.deepEqual([isZeroFill(text), isZeroFill(bss)], [false, true]);
  t.is(sectionType(text), S.S_REGULAR);
});

test('sectionContents() refuses a section outside of its segment, and one whose bytes are elsewhere', t => {
  const file = readMachO(machoBytes(tiny()));
  const data = findSection(file, '__DATA', '__data');
  const segment = findSegment(file, '__DATA');
  if (!data || !segment) return t.fail();
  for (const [offset, size] of [
    [0x800, 8n],
    [0x1ffc, 8n],
    [0x1000, 2n ** 63n],
    [0x3000, 1n],
  ] as const) {
    Object.assign(data, { offset, size });
    t.throws(() => sectionContents(file, data), {
      instanceOf: FormatError,
      code: 'MACHO_BAD_SECTION',
      message: /__DATA,__data is 0x/,
    });
  }
  Object.assign(data, { offset: 0x1000, size: 8n });
  segment.contents = undefined;
  t.throws(() => sectionContents(file, data), { instanceOf: FormatError, code: 'MACHO_EXTERNAL' });
});

test('atAddress() gives what is there up to the end of the segment', t => {
  const file = readMachO(machoBytes(tiny()));
  const found = atAddress(file, BASE + 0x1002n);
  t.is(found && contentsSize(found), 0xffe);
  t.deepEqual(found && [...readContents(found, 0, 3)], [3, 4, 5]);
  t.deepEqual(
    [0n, BASE - 1n, BASE + 0x2000n, 2n ** 64n - 1n].map(address => atAddress(file, address)),
    [undefined, undefined, undefined, undefined],
  );
});
