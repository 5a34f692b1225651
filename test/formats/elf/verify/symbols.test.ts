import { readElf } from '../../../../formats/elf/read.ts';
import { readSymbols } from '../../../../formats/elf/symbols.ts';
import type { Spoil } from '../support/spoil.ts';
import { contents, section, testBreakages, word } from '../support/verify.ts';

/** Changes bytes of the symbol of this name in .symtab. */
const symbol =
  (name: string, field: number, ...values: readonly number[]): Spoil =>
  bytes => {
    const file = readElf(bytes);
    const table = file.sections.find(one => one.name === '.symtab');
    if (table === undefined) throw new Error('no .symtab');
    const index = readSymbols(file, table).findIndex(one => one.name === name);
    return contents('.symtab', 24 * index + field, ...values)(bytes);
  };

testBreakages([
  ['a symbol 0 with a value', 'strict', 'ELF_SYMBOL_ZERO', 'pie', word('.symtab', 8, 5n)],
  [
    'global symbols among local ones',
    'strict',
    'ELF_SYMBOL_ORDER',
    'pie',
    section('.symtab', { sh_info: 1 }),
  ],
  ['local symbols among global ones', 'strict', 'ELF_SYMBOL_ORDER', 'pie', symbol('main', 4, 0x02)],
  ['a type that is none', 'strict', 'ELF_SYMBOL_TYPE', 'pie', symbol('main', 4, 0x1b)],
  ['a binding that is none', 'strict', 'ELF_SYMBOL_BIND', 'pie', symbol('main', 4, 0x52)],
  ['a symbol of no section', 'strict', 'ELF_SYMBOL_SECTION', 'pie', symbol('main', 6, 0xe8, 0x03)],
  ['a symbol beyond its section', 'strict', 'ELF_SYMBOL_VALUE', 'object', symbol('main', 8, 0, 0, 0, 1)],
  ['a function outside of its section', 'strict', 'ELF_SYMBOL_VALUE', 'pie', symbol('main', 8, 0, 0, 0, 1)],
  ['a thread-local symbol elsewhere', 'error', 'ELF_SYMBOL_TLS', 'pie', symbol('data', 4, 0x16)],
]);
