import test from 'ava';
import { PT, SHF, SHT } from '../../../formats/elf/constants.ts';
import { findSection } from '../../../formats/elf/find.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import {
  addSection,
  type ElfFile,
  type ElfSection,
  newSection,
  newSegment,
} from '../../../formats/elf/model.ts';
import { FormatError } from '../../../formats/errors.ts';
import { nameOf } from '../../../formats/names.ts';
import { hello } from './support/hello.ts';

const GIB = 2 ** 30;
const progbits = (fields: Partial<ElfSection>): ElfSection =>
  newSection({ name: '.x', type: SHT.SHT_PROGBITS, ...fields });

test('layoutElf() gives segments the extent of their sections, in file and memory', t => {
  const segments = layoutElf(hello()).segments.map(({ p_type, p_offset, p_vaddr, p_filesz, p_memsz }) => [
    nameOf(PT, p_type),
    p_offset,
    p_vaddr,
    p_filesz,
    p_memsz,
  ]);
  t.deepEqual(segments, [
    ['PT_LOAD', 0x200n, 0x400200n, 36n, 36n],
    ['PT_LOAD', 0x1000n, 0x401000n, 12n, 12n],
    ['PT_LOAD', 0x2000n, 0x402000n, 16n, 80n],
    ['PT_NOTE', 0x200n, 0x400200n, 36n, 36n],
    ['PT_GNU_STACK', 0n, 0n, 0n, 0n],
  ]);
});

test('layoutElf() changes nothing in the file', t => {
  const file = hello();
  layoutElf(file);
  t.deepEqual(file, hello());
});

const refused = test.macro<[string, string, RegExp, (file: ElfFile) => unknown]>({
  exec(t, _title, code, message, spoil) {
    const file = hello();
    spoil(file);
    t.throws(() => layoutElf(file), { instanceOf: FormatError, code, message });
  },
  title: (_, title) => `layoutElf() refuses ${title}`,
});
test(
  refused,
  'two sections at one place',
  'ELF_OVERLAP',
  /section 9 \(\.x\) at 0x8008 to 0x8010 overlaps section 8 \(\.x\) at 0x8000 to 0x8010/,
  file => {
    addSection(file, progbits({ offset: 0x8000, contents: new Uint8Array(16) }));
    addSection(file, progbits({ offset: 0x8008, contents: new Uint8Array(8) }));
  },
);
test(refused, 'a section over external contents', 'ELF_OVERLAP', /section 9 .* overlaps section 8/, file => {
  addSection(file, progbits({ offset: 0x8000, size: GIB }));
  addSection(file, progbits({ offset: 0x9000, contents: new Uint8Array(1) }));
});
test(
  refused,
  'a section over the ELF header',
  'ELF_OVERLAP',
  /overlaps the ELF header at 0x0 to 0x40/,
  file => {
    addSection(file, progbits({ offset: 0x20, contents: new Uint8Array(1) }));
  },
);
test(
  refused,
  'a program header table that does not fit',
  'ELF_OVERLAP',
  /section 2 .* overlaps the program header table/,
  file => {
    file.phoff = 0xff8;
    const text = findSection(file, '.text');
    if (text) text.offset = 0x1000;
  },
);
test(refused, 'a segment of no sections', 'ELF_BAD_SEGMENT', /segment 5 is made of no sections/, file => {
  file.segments.push(newSegment({ type: PT.PT_NOTE, flags: 4, sections: [] }));
});
test(
  refused,
  'a segment of a section that is not there',
  'ELF_BAD_SEGMENT',
  /segment 5 is made of section 99/,
  file => {
    file.segments.push(newSegment({ type: PT.PT_NOTE, flags: 4, sections: [1, 99] }));
  },
);
test(
  refused,
  'a segment whose sections are apart in memory but not in the file',
  'ELF_BAD_SEGMENT',
  /segment 2 has section 8 \(\.x\) at/,
  file => {
    const far = addSection(
      file,
      progbits({ flags: SHF.SHF_ALLOC, address: 0x500000n, contents: new Uint8Array(1) }),
    );
    file.segments[2] = newSegment({ type: PT.PT_LOAD, flags: 6, align: 0x1000, sections: [3, far] });
  },
);
