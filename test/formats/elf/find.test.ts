import test from 'ava';
import { PT } from '../../../formats/elf/constants.ts';
import {
  atAddress,
  findSection,
  findSegment,
  sectionContents,
  segmentContents,
  segmentSource,
} from '../../../formats/elf/find.ts';
import { newElf, newSection, newSegment } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { core } from './support/core.ts';
import { hello } from './support/hello.ts';

const file = readElf(elfBytes(hello()));

test('findSection() finds the first section of a name', t => {
  t.is(findSection(file, '.data'), file.sections[3]);
  t.is(findSection(file, '.dat'), undefined);
});

test('findSegment() finds the first segment of a type', t => {
  t.is(findSegment(file, PT.PT_LOAD), file.segments[0]);
  t.is(findSegment(file, PT.PT_TLS), undefined);
});

test('sectionContents() reads a section, and nothing for SHT_NOBITS', t => {
  const [data, bss] = [file.sections[3], file.sections[4]];
  t.deepEqual(data && [...sectionContents(data)], [...Array(16).keys()]);
  t.is(bss && sectionContents(bss).length, 0);
});

test('sectionContents() refuses a section whose contents are elsewhere', t => {
  const external = newSection({ name: '.image', type: 1, size: 5 });
  t.throws(() => sectionContents(external), { instanceOf: FormatError, code: 'ELF_EXTERNAL' });
});

test('segmentContents() reads what a segment is loaded from', t => {
  const [, , data] = file.segments;
  t.deepEqual(data && [...segmentContents(file, data)], [...Array(16).keys()]);
});

test('segmentSource() refuses a segment past the end of the file, and one of a file that was not read', t => {
  const cut = readElf(elfBytes(core([new Uint8Array(10)])).subarray(0, -1));
  const load = findSegment(cut, PT.PT_LOAD) ?? newSegment({ type: 0, flags: 0 });
  t.throws(() => segmentSource(cut, load), { instanceOf: FormatError, code: 'ELF_TRUNCATED' });
  t.throws(() => segmentSource(newElf({ type: 2 }), load), {
    instanceOf: FormatError,
    code: 'ELF_TRUNCATED',
  });
});

test('atAddress() reads from an address to the end of what its segment has in the file', t => {
  t.deepEqual([...(atAddress(file, 0x402004n)?.read(0, 3) ?? [])], [4, 5, 6]);
  t.is(atAddress(file, 0x402004n)?.size, 12);
  t.is(atAddress(file, 0x402004n)?.offset, 0x2004);
});

test('atAddress() has nothing for .bss, for gaps and for addresses of nobody', t => {
  for (const address of [0x402010n, 0x401fffn, 0n, 2n ** 64n - 1n]) t.is(atAddress(file, address), undefined);
});
