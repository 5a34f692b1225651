/**
 * An x86-64 executable made from nothing: sections, segments, notes and symbols. It leaves with exit
 * status 42.
 *
 * @module
 */
import {
  addSection,
  ELFOSABI,
  type ElfFile,
  type ElfSymbol,
  EM,
  ET,
  encodeNotes,
  encodeSymbols,
  NT_GNU,
  newElf,
  newSection,
  newSegment,
  newSymbol,
  PF,
  PT,
  SHF,
  SHT,
  STB,
  STT,
  STV,
} from '../../../../formats/elf/index.ts';

/** mov $42,%edi; mov $60,%eax; syscall: exit(42). */
const CODE = Uint8Array.of(0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05);
const PAGE = 0x1000;
const { SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE } = SHF;

export const BUILD_ID = '00112233445566778899aabbccddeeff01234567';

/** The symbols of `hello()`, without the null symbol and those that `more` adds. */
export const HELLO_SYMBOLS: readonly ElfSymbol[] = [
  newSymbol({ name: '_start', value: 0x401000n, size: CODE.length, type: STT.STT_FUNC, sectionIndex: 2 }),
  newSymbol({
    name: 'local_word',
    value: 0x402008n,
    size: 8,
    type: STT.STT_OBJECT,
    bind: STB.STB_LOCAL,
    sectionIndex: 3,
  }),
  newSymbol({
    name: 'hidden_word',
    value: 0x402000n,
    size: 8,
    type: STT.STT_OBJECT,
    visibility: STV.STV_HIDDEN,
    sectionIndex: 3,
  }),
  newSymbol({
    name: 'zeros',
    value: 0x402010n,
    size: 64,
    type: STT.STT_OBJECT,
    bind: STB.STB_WEAK,
    sectionIndex: 4,
  }),
];

export function hello(more: readonly ElfSymbol[] = []): ElfFile {
  const file = newElf({
    type: ET.ET_EXEC,
    machine: EM.EM_X86_64,
    entry: 0x401000n,
    osabi: ELFOSABI.ELFOSABI_NONE,
  });
  const buildId = Uint8Array.from(Buffer.from(BUILD_ID, 'hex'));
  const id = encodeNotes([{ owner: 'GNU', type: NT_GNU.NT_GNU_BUILD_ID, desc: buildId }], 4);
  const note = addSection(
    file,
    newSection({
      name: '.note.gnu.build-id',
      type: SHT.SHT_NOTE,
      flags: SHF_ALLOC,
      address: 0x400200n,
      align: 4,
      contents: id,
    }),
  );
  const text = addSection(
    file,
    newSection({
      name: '.text',
      type: SHT.SHT_PROGBITS,
      flags: SHF_ALLOC | SHF_EXECINSTR,
      address: 0x401000n,
      align: 16,
      contents: CODE,
    }),
  );
  const data = addSection(
    file,
    newSection({
      name: '.data',
      type: SHT.SHT_PROGBITS,
      flags: SHF_ALLOC | SHF_WRITE,
      address: 0x402000n,
      align: 8,
      contents: Uint8Array.from({ length: 16 }, (_, i) => i),
    }),
  );
  const bss = addSection(
    file,
    newSection({
      name: '.bss',
      type: SHT.SHT_NOBITS,
      flags: SHF_ALLOC | SHF_WRITE,
      address: 0x402010n,
      align: 8,
      size: 64,
    }),
  );
  const own = encodeNotes([{ owner: 'unexec', type: 1, desc: Uint8Array.of(1, 2, 3) }], 4);
  addSection(file, newSection({ name: '.note.unexec', type: SHT.SHT_NOTE, align: 4, contents: own }));

  const { symtab, strtab, firstGlobal } = encodeSymbols([...HELLO_SYMBOLS, ...more]);
  const strings = file.sections.length + 1;
  addSection(
    file,
    newSection({
      name: '.symtab',
      type: SHT.SHT_SYMTAB,
      link: strings,
      info: firstGlobal,
      align: 8,
      entsize: 24,
      contents: symtab,
    }),
  );
  addSection(file, newSection({ name: '.strtab', type: SHT.SHT_STRTAB, contents: strtab }));

  const { PF_R, PF_W, PF_X } = PF;
  file.segments.push(
    newSegment({ type: PT.PT_LOAD, flags: PF_R, align: PAGE, sections: [note] }),
    newSegment({ type: PT.PT_LOAD, flags: PF_R | PF_X, align: PAGE, sections: [text] }),
    newSegment({ type: PT.PT_LOAD, flags: PF_R | PF_W, align: PAGE, sections: [data, bss] }),
    newSegment({ type: PT.PT_NOTE, flags: PF_R, align: 4, sections: [note] }),
    newSegment({ type: PT.PT_GNU_STACK, flags: PF_R | PF_W, align: 16 }),
  );
  return file;
}
