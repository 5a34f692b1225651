import { LC } from '../../../../formats/macho/constants.ts';
import { SECTION } from '../../../support/macho/edit.ts';
import { blob, command32, type Edit, section32, testBreakages } from '../support/verify.ts';

const { LC_SYMTAB, LC_DYSYMTAB, LC_DYLD_EXPORTS_TRIE, LC_FUNCTION_STARTS } = LC;
const DATA = { offset: 8, size: 12 };

/** nlist_64: n_strx, n_type, n_sect, n_desc, n_value. The first symbol that is defined in a section. */
const symbolInSection =
  (field: number, value: number): Edit =>
  file => {
    const at = file.u32(file.command(LC_SYMTAB) + 8);
    const count = file.u32(file.command(LC_SYMTAB) + 12);
    for (let i = 0; i < count; i++) {
      const type = file.bytes[at + 16 * i + 4] ?? 0;
      if ((type & 0xe0) !== 0 || (type & 0x0e) !== 0x0e) continue;
      file.bytes[at + 16 * i + field] = value;
      return;
    }
    throw new Error('no symbol is in a section');
  };

testBreakages([
  ['a symbol of no section', 'error', 'MACHO_SYMBOL_SECTION', 'chained', symbolInSection(5, 200)],
  ['a symbol that is in section 0', 'error', 'MACHO_SYMBOL_SECTION', 'chained', symbolInSection(5, 0)],
  ['a symbol outside of its section', 'strict', 'MACHO_SYMBOL_SECTION', 'chained', symbolInSection(10, 0x7f)],
  [
    'a last string that does not end',
    'strict',
    'MACHO_STRINGS_END',
    'chained',
    file => {
      const symtab = file.command(LC_SYMTAB);
      file.bytes.set([0x78], file.u32(symtab + 16) + file.u32(symtab + 20) - 1);
    },
  ],
  ['a name outside of the strings', 'error', 'MACHO_BAD_STRING', 'chained', symbolInSection(3, 0x7f)],
  [
    'an indirect symbol that is none',
    'error',
    'MACHO_INDIRECT_SYMBOLS',
    'chained',
    blob(LC_DYSYMTAB, 56, 0, 0, 0x10),
  ],
  ['stubs without symbols', 'strict', 'MACHO_INDIRECT_SYMBOLS', 'chained', section32('__stubs', 68, 1000)],
  [
    'an export outside of the image',
    'strict',
    'MACHO_EXPORT',
    'chained',
    trie([0, 1, 0x41, 0, 5, 6, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 0]),
  ],
  [
    'an export of a library that is not linked',
    'error',
    'MACHO_EXPORT',
    'chained',
    trie([0, 1, 0x41, 0, 5, 3, 8, 9, 0, 0]),
  ],
  ['an exports trie that is none', 'error', 'MACHO_BAD_EXPORTS', 'chained', trie([0, 1, 0x41, 0, 0])],
  [
    'functions behind the code',
    'strict',
    'MACHO_FUNCTION_STARTS',
    'chained',
    blob(LC_FUNCTION_STARTS, DATA.offset, 0, 0x80, 0x80, 0x80, 0x10, 0),
  ],
]);

/** Another exports trie, over the one that is there. */
function trie(bytes: readonly number[]): Edit {
  return file => {
    const at = file.command(LC_DYLD_EXPORTS_TRIE);
    const start = file.u32(at + DATA.offset);
    file.bytes.fill(0, start, start + file.u32(at + DATA.size));
    file.bytes.set(bytes, start);
  };
}

testBreakages([
  [
    'a section of more indirect symbols than there are',
    'strict',
    'MACHO_INDIRECT_SYMBOLS',
    'info',
    command32(LC_DYSYMTAB, 60, n => n - 1),
    section32('__stubs', SECTION.flags, n => n),
  ],
]);
