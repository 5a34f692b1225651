import { ET, PF, PT } from '../../../../formats/elf/constants.ts';
import { headerOf, setHeader, setSegment } from '../support/spoil.ts';
import { segment, testBreakages } from '../support/verify.ts';

const { PT_LOAD } = PT;

testBreakages([
  [
    'more program headers than Linux takes',
    'error',
    'ELF_PHNUM_KERNEL',
    'pie',
    bytes => {
      const phoff = bytes.length + (8 - (bytes.length % 8));
      const longer = new Uint8Array(phoff + 1171 * 56);
      longer.set(bytes);
      return setHeader({ e_phoff: BigInt(phoff), e_phnum: 1171, e_type: ET.ET_EXEC })(longer) ?? longer;
    },
  ],
  ['no program headers', 'error', 'ELF_PHNUM_KERNEL', 'static', setHeader({ e_phnum: 0 })],
  ['nothing to be loaded', 'error', 'ELF_NO_LOAD', 'library', setHeader({ e_phnum: 0 })],
  [
    'a segment beyond the end of the file',
    'error',
    'ELF_SEGMENT_PAST_END',
    'pie',
    segment(PT_LOAD, { p_filesz: 0x100000n, p_memsz: 0x100000n }),
  ],
  [
    'more bytes in the file than in memory',
    'error',
    'ELF_LOAD_FILESZ',
    'pie',
    segment(PT_LOAD, { p_memsz: 1n }),
  ],
  [
    'an address beyond those of programs',
    'error',
    'ELF_LOAD_ADDRESS',
    'static',
    segment(PT_LOAD, { p_vaddr: 0x7fff_ffff_f000n }),
  ],
  [
    'an address that no program gets',
    'error',
    'ELF_LOAD_ADDRESS',
    'static',
    segment(PT_LOAD, { p_vaddr: 0x1000n }),
  ],
  [
    'an address off its offset',
    'error',
    'ELF_LOAD_CONGRUENT',
    'pie',
    segment(PT_LOAD, { p_vaddr: 0x1008n }, 1),
  ],
  [
    'an address off its alignment',
    'strict',
    'ELF_LOAD_CONGRUENT',
    'pie',
    segment(PT_LOAD, { p_align: 0x200000n, p_vaddr: 0x2000n }, 1),
  ],
  [
    'an alignment that is no power of two',
    'strict',
    'ELF_SEGMENT_ALIGN',
    'pie',
    segment(PT_LOAD, { p_align: 0x1800n }),
  ],
  [
    'an alignment of a library below a page',
    'error',
    'ELF_SEGMENT_ALIGN',
    'library',
    segment(PT_LOAD, { p_align: 0x100n }),
  ],
  [
    'segments that descend, in a library',
    'error',
    'ELF_LOAD_ORDER',
    'library',
    segment(PT_LOAD, { p_vaddr: 0x101000n }, 1),
  ],
  [
    'segments that descend, in a program',
    'strict',
    'ELF_LOAD_ORDER',
    'pie',
    segment(PT_LOAD, { p_vaddr: 0x101000n }, 1),
  ],
  ['segments that overlap', 'error', 'ELF_LOAD_OVERLAP', 'pie', segment(PT_LOAD, { p_vaddr: 0n }, 1)],
  [
    'segments of different places on one page',
    'error',
    'ELF_LOAD_OVERLAP',
    'static',
    bytes => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const phoff = Number(headerOf(bytes).e_phoff);
      const end = view.getBigUint64(phoff + 16, true) + view.getBigUint64(phoff + 40, true);
      return setSegment(1, { p_vaddr: end, p_offset: 0x2000n + (end % 0x1000n), p_filesz: 8n, p_memsz: 8n })(
        bytes,
      );
    },
  ],
  [
    'zeros behind bytes that cannot be written',
    'error',
    'ELF_LOAD_ZERO_TAIL',
    'pie',
    segment(PT_LOAD, { p_flags: PF.PF_R }, 3),
  ],
  ['an entry point in no segment', 'error', 'ELF_ENTRY', 'pie', setHeader({ e_entry: 0x999999n })],
  ['an entry point in data', 'error', 'ELF_ENTRY', 'pie', setHeader({ e_entry: 0x4020n })],
]);
