import { DT, PF, PT, R_X86_64 } from '../../../../formats/elf/constants.ts';
import { contents, dynamic, section, segment, testBreakages, word } from '../support/verify.ts';

const FAR = { value: 0x9999_0000n };

testBreakages([
  [
    'a dynamic section without end',
    'error',
    'ELF_DYNAMIC_NULL',
    'pie',
    segment(PT.PT_DYNAMIC, { p_filesz: 32n }),
  ],
  [
    'symbols without names',
    'error',
    'ELF_DYNAMIC_MISSING',
    'pie',
    dynamic(DT.DT_STRSZ, { tag: DT.DT_DEBUG }),
  ],
  [
    'relocations without their size',
    'error',
    'ELF_DYNAMIC_MISSING',
    'pie',
    dynamic(DT.DT_RELASZ, { tag: 0x6000_0123 }),
  ],
  ['symbols of another size', 'error', 'ELF_DYNAMIC_VALUE', 'pie', dynamic(DT.DT_SYMENT, { value: 16n })],
  [
    'procedure linkage without addends',
    'error',
    'ELF_DYNAMIC_VALUE',
    'pie',
    dynamic(DT.DT_PLTREL, { value: 17n }),
  ],
  [
    'two of a tag',
    'strict',
    'ELF_DYNAMIC_TWICE',
    'pie',
    dynamic(DT.DT_FLAGS_1, { tag: DT.DT_SYMENT, value: 24n }),
  ],
  ['relocations that are not loaded', 'error', 'ELF_DYNAMIC_ADDRESS', 'pie', dynamic(DT.DT_RELA, FAR)],
  [
    'constructors beyond their segment',
    'error',
    'ELF_DYNAMIC_ADDRESS',
    'pie',
    dynamic(DT.DT_INIT_ARRAYSZ, { value: 0x100000n }),
  ],
  ['a library of no name', 'error', 'ELF_DYNAMIC_STRING', 'pie', dynamic(DT.DT_NEEDED, { value: 0x7000n })],
  [
    'a tag that leads elsewhere than its section',
    'strict',
    'ELF_DYNAMIC_SECTION',
    'pie',
    section('.init_array', { sh_addr: 0x3d98n }),
  ],
]);

/** Byte 8 of an Elf64_Rela is the type, byte 12 the symbol. */
testBreakages([
  [
    'a relocation of a type that ld.so does not know',
    'error',
    'ELF_RELOCATION_TYPE',
    'pie',
    word('.rela.dyn', 8, 99),
  ],
  [
    'a relocation of a type for linkers only',
    'error',
    'ELF_RELOCATION_TYPE',
    'pie',
    word('.rela.dyn', 8, R_X86_64.R_X86_64_GOTPCREL),
  ],
  ['a relocation for no symbol', 'error', 'ELF_RELOCATION_SYMBOL', 'pie', word('.rela.plt', 12, 5000)],
  ['a relocation of no memory', 'error', 'ELF_RELOCATION_ADDRESS', 'pie', word('.rela.dyn', 0, 0x9999_0000n)],
  ['a relocation of code', 'error', 'ELF_RELOCATION_READ_ONLY', 'pie', word('.rela.dyn', 0, 0x1000n)],
  [
    'more relative relocations than there are',
    'error',
    'ELF_RELACOUNT',
    'pie',
    dynamic(DT.DT_RELACOUNT, { value: 7n }),
  ],
  ['a bitmap before all addresses', 'error', 'ELF_RELR', 'library', contents('.relr.dyn', 0, 1)],
  [
    'a relative relocation of no memory',
    'error',
    'ELF_RELOCATION_ADDRESS',
    'library',
    word('.relr.dyn', 0, 0x9999_0000n),
  ],
  [
    'a relative relocation of what cannot be written',
    'error',
    'ELF_RELOCATION_ADDRESS',
    'library',
    segment(PT.PT_LOAD, { p_flags: PF.PF_R }, 3),
  ],
  [
    'a relocation of no type in an object',
    'strict',
    'ELF_RELOCATION_TYPE',
    'object',
    word('.rela.text', 8, 99),
  ],
  [
    'a relocation for no symbol in an object',
    'strict',
    'ELF_RELOCATION_SYMBOL',
    'object',
    word('.rela.text', 12, 5000),
  ],
  [
    'a relocation beyond its section in an object',
    'strict',
    'ELF_RELOCATION_ADDRESS',
    'object',
    word('.rela.text', 0, 0x9999n),
  ],
]);

/** nbucket, nchain, buckets; nbuckets, symoffset, bloom_size, bloom_shift, bloom. */
testBreakages([
  ['a hash table without buckets', 'error', 'ELF_HASH', 'library', word('.hash', 0, 0)],
  ['a chain that never ends', 'error', 'ELF_HASH', 'library', bytes => loop(bytes)],
  ['a GNU hash table without buckets', 'error', 'ELF_GNU_HASH', 'library', word('.gnu.hash', 0, 0)],
  ['a Bloom filter of three words', 'error', 'ELF_GNU_HASH', 'library', word('.gnu.hash', 8, 3)],
  ['a Bloom filter that refuses', 'error', 'ELF_GNU_HASH', 'library', word('.gnu.hash', 16, 0n)],
  ['a bucket before all symbols', 'error', 'ELF_GNU_HASH', 'library', bytes => bucketOne(bytes)],
  ['a version of a wrong hash', 'error', 'ELF_VERSION_HASH', 'library', word('.gnu.version_d', 8, 77)],
  [
    'a needed version of a wrong hash',
    'error',
    'ELF_VERSION_HASH',
    'library',
    word('.gnu.version_r', 16, 77),
  ],
  [
    'a version record of another version',
    'error',
    'ELF_VERSION_RECORD',
    'library',
    contents('.gnu.version_r', 0, 2),
  ],
  ['a symbol of no version', 'error', 'ELF_BAD_DYNAMIC', 'library', contents('.gnu.version', 2, 99)],
]);

/** Each chain entry leads to its own symbol. */
function loop(bytes: Uint8Array): Uint8Array | undefined {
  const nbucket = 4;
  for (let symbol = 1; symbol < 6; symbol++) word('.hash', 8 + 4 * (nbucket - 1 + symbol), symbol)(bytes);
  return undefined;
}

/** The first bucket in use begins with symbol 1, which a linker leaves out of the table. */
function bucketOne(bytes: Uint8Array): Uint8Array | undefined {
  return word('.gnu.hash', 16 + 8, 1)(bytes);
}
