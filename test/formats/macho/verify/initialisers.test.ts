import { SECTION, SEGMENT } from '../../../support/macho/edit.ts';
import { type Edit, section32, section64, testBreakages, testSound } from '../support/verify.ts';

testBreakages([
  [
    'half an initialiser',
    'error',
    'MACHO_INITIALISERS',
    'info',
    section64('__mod_init_func', SECTION.size, n => n - 4),
  ],
  [
    'offsets of initialisers in data',
    'error',
    'MACHO_INITIALISERS',
    'offsets',
    section32('__data', SECTION.flags, 0x16),
  ],
  [
    'an initialiser that is no code',
    'error',
    'MACHO_INITIALISERS',
    'offsets',
    file => file.set32(file.u32(file.section('__init_offsets') + SECTION.offset), 0x80_0000),
  ],
  [
    'half an offset of an initialiser',
    'error',
    'MACHO_INITIALISERS',
    'offsets',
    section64('__init_offsets', SECTION.size, n => n - 2),
  ],
  [
    'an initialiser that is data',
    'error',
    'MACHO_INITIALISERS',
    'info',
    file => file.set64(firstOf(file), file.u64(file.segment('__DATA') + SEGMENT.vmaddr)),
  ],
  [
    'an initialiser that is data, in a chain',
    'error',
    'MACHO_INITIALISERS',
    'chained',
    namesAreInitialisers,
    // DYLD_CHAINED_PTR_64: the lower half of the word is that of the address.
    file =>
      file.set32(
        file.u32(constants(file) + SECTION.offset),
        file.u64(file.segment('__DATA') + SEGMENT.vmaddr) % 2 ** 32,
      ),
  ],
  [
    'an initialiser that nobody relocates',
    'error',
    'MACHO_INITIALISERS',
    'no-pie',
    file => file.set64(firstOf(file), 0),
  ],
]);

/** Offset of the first pointer to an initialiser. */
const firstOf = (file: Parameters<Edit>[0]): number =>
  file.u32(file.section('__mod_init_func') + SECTION.offset);

testSound('initialisers in a chain that are in the code', 'chained', namesAreInitialisers);

/** The section_64 `__DATA_CONST,__const`, of pointers to names. */
function constants(file: Parameters<Edit>[0]): number {
  const segment = file.segment('__DATA_CONST');
  for (let i = 0, at = segment + 72; i < file.u32(segment + 64); i++, at += 80)
    if (file.text(at) === '__const') return at;
  throw new Error('there are no constants with pointers');
}

/** ld(1) chains pointers to initialisers; lld makes offsets of them. What they lead to is in __TEXT here, too. */
function namesAreInitialisers(file: Parameters<Edit>[0]): void {
  file.set32(constants(file) + SECTION.flags, 9);
}
