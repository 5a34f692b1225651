import test from 'ava';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { core } from './support/core.ts';
import { hello } from './support/hello.ts';
import { cut, type Spoil, setByte, setHeader, spoiled } from './support/spoil.ts';

const refused = test.macro<[string, Spoil, string, string]>({
  exec(t, _title, spoil, code, message) {
    const error = t.throws(() => readElf(spoiled(elfBytes(hello()), spoil)), {
      instanceOf: FormatError,
      message,
    });
    t.is(error?.code, code);
  },
  title: (_, title) => `readElf() refuses ${title}`,
});

test(
  refused,
  'an empty file',
  cut(0),
  'ELF_BAD_MAGIC',
  'ELF: the file begins with nothing, expected 7f 45 4c 46',
);
test(
  refused,
  'three bytes',
  cut(3),
  'ELF_BAD_MAGIC',
  'ELF: the file begins with 7f 45 4c, expected 7f 45 4c 46',
);
test(
  refused,
  'a script',
  () => new TextEncoder().encode('#!/bin/sh'),
  'ELF_BAD_MAGIC',
  'ELF: the file begins with 23 21 2f 62, expected 7f 45 4c 46',
);
test(
  refused,
  'the magic alone',
  cut(4),
  'ELF_UNSUPPORTED_CLASS',
  'ELF: EI_CLASS is 0 at 0x4, expected 2 (ELFCLASS64)',
);
test(
  refused,
  'ELF32',
  setByte(4, 1),
  'ELF_UNSUPPORTED_CLASS',
  'ELF: EI_CLASS is 1 at 0x4, expected 2 (ELFCLASS64)',
);
test(
  refused,
  'big-endian',
  setByte(5, 2),
  'ELF_UNSUPPORTED_DATA',
  'ELF: EI_DATA is 2 at 0x5, expected 1 (ELFDATA2LSB)',
);
test(
  refused,
  'another EI_VERSION',
  setByte(6, 9),
  'ELF_BAD_VERSION',
  'ELF: EI_VERSION is 9 at 0x6, expected 1',
);
test(
  refused,
  'half a header',
  cut(63),
  'ELF_TRUNCATED',
  'ELF: the file has 0x3f bytes, expected 0x40 for the ELF header',
);
test(
  refused,
  'another e_version',
  setHeader({ e_version: 2 }),
  'ELF_BAD_VERSION',
  'ELF: e_version is 2 at 0x14, expected 1',
);
test(
  refused,
  'another e_phentsize',
  setHeader({ e_phentsize: 32 }),
  'ELF_BAD_PHENTSIZE',
  'ELF: e_phentsize is 32 at 0x36, expected 56',
);
test(
  refused,
  'another e_shentsize',
  setHeader({ e_shentsize: 40 }),
  'ELF_BAD_SHENTSIZE',
  'ELF: e_shentsize is 40 at 0x3a, expected 64',
);
test(
  refused,
  'segments without e_phoff',
  setHeader({ e_phoff: 0n }),
  'ELF_BAD_PHOFF',
  'ELF: e_phoff is 0 at 0x20, expected the offset of 5 program headers',
);
test(
  refused,
  'sections without e_shoff',
  setHeader({ e_shoff: 0n }),
  'ELF_BAD_SHOFF',
  'ELF: e_shoff is 0 at 0x28, expected the offset of 9 section headers',
);

test('readElf() does not look at the entry size of a table that is not there', t => {
  const bytes = spoiled(elfBytes(core([])), setHeader({ e_shentsize: 17 }));
  t.is(readElf(bytes).sections.length, 0);
});
