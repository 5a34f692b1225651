import { PF, PT } from '../../../../formats/elf/constants.ts';
import { setByte, setHeader, setSegment } from '../support/spoil.ts';
import { base, contents, segment, testBreakages } from '../support/verify.ts';

const swapFirstTwoLoads = (bytes: Uint8Array): undefined => {
  // PT_INTERP is the second program header, the first PT_LOAD the third.
  const at = 64 + 56;
  const [interp, load] = [bytes.slice(at, at + 56), bytes.slice(at + 56, at + 112)];
  bytes.set(load, at);
  bytes.set(interp, at + 56);
};

testBreakages([
  ['a segment of no type', 'strict', 'ELF_SEGMENT_TYPE', 'pie', segment(PT.PT_GNU_STACK, { p_type: 0x1234 })],
  [
    'notes of more bytes than memory',
    'strict',
    'ELF_SEGMENT_FILESZ',
    'pie',
    segment(PT.PT_NOTE, { p_memsz: 8n }),
  ],
  [
    'a dynamic section of another size',
    'strict',
    'ELF_SEGMENT_SECTION',
    'pie',
    segment(PT.PT_DYNAMIC, { p_filesz: 0x1d0n }),
  ],
  [
    'thread-locals outside of their segment',
    'strict',
    'ELF_TLS',
    'pie',
    segment(PT.PT_TLS, { p_vaddr: 0x3d00n, p_offset: 0x2d00n }),
  ],
  [
    'two interpreters',
    'strict',
    'ELF_SEGMENT_TWICE',
    'pie',
    segment(PT.PT_GNU_STACK, { p_type: PT.PT_INTERP }),
  ],
  ['an interpreter behind what is loaded', 'strict', 'ELF_SEGMENT_LATE', 'pie', swapFirstTwoLoads],
  ['an interpreter of no name', 'error', 'ELF_INTERP', 'pie', segment(PT.PT_INTERP, { p_filesz: 1n })],
  ['an interpreter without its NUL', 'error', 'ELF_INTERP', 'pie', segment(PT.PT_INTERP, { p_filesz: 8n })],
  ['an interpreter by a relative path', 'strict', 'ELF_INTERP', 'pie', contents('.interp', 0, 0x78)],
  ['a PT_PHDR that is not the table', 'error', 'ELF_PHDR', 'pie', segment(PT.PT_PHDR, { p_filesz: 56n })],
  ['a PT_PHDR at another address', 'error', 'ELF_PHDR', 'pie', segment(PT.PT_PHDR, { p_vaddr: 0x48n })],
  [
    'program headers that are not loaded',
    'error',
    'ELF_PHDR',
    'pie',
    bytes => {
      const longer = new Uint8Array(bytes.length + 8 - (bytes.length % 8) + 56 * 20);
      longer.set(bytes);
      const phoff = bytes.length + 8 - (bytes.length % 8);
      longer.set(bytes.subarray(64, 64 + 56 * 13), phoff);
      return setHeader({ e_phoff: BigInt(phoff) })(longer) ?? longer;
    },
  ],
  [
    'program headers where old kernels do not look',
    'strict',
    'ELF_PHDR_DISTANCE',
    'pie',
    bytes => {
      // The note of the stack becomes a PT_LOAD of a copy of the table, a page behind the file.
      const phoff = Math.ceil(bytes.length / 4096) * 4096;
      const longer = new Uint8Array(phoff + 4096);
      longer.set(bytes);
      const at = { p_offset: BigInt(phoff), p_vaddr: 0x100000n, p_paddr: 0x100000n };
      const size = { p_filesz: 4096n, p_memsz: 4096n, p_align: 4096n };
      segment(PT.PT_GNU_STACK, { p_type: PT.PT_LOAD, p_flags: 4, ...at, ...size })(longer);
      segment(PT.PT_PHDR, at)(longer);
      longer.set(longer.subarray(64, 64 + 56 * 13), phoff);
      return setHeader({ e_phoff: BigInt(phoff) })(longer) ?? longer;
    },
  ],
  [
    'a dynamic section that is not loaded',
    'error',
    'ELF_SEGMENT_UNLOADED',
    'pie',
    segment(PT.PT_DYNAMIC, { p_vaddr: 0x99999990n }),
  ],
  [
    'a template that is loaded from elsewhere',
    'error',
    'ELF_SEGMENT_OFFSET',
    'pie',
    segment(PT.PT_TLS, { p_offset: 0x10n }),
  ],
  ['a template larger than its memory', 'error', 'ELF_TLS', 'pie', segment(PT.PT_TLS, { p_memsz: 0n })],
  ['a template of an odd alignment', 'error', 'ELF_TLS', 'pie', segment(PT.PT_TLS, { p_align: 12n })],
  [
    'a read-only segment that is to be made read-only',
    'strict',
    'ELF_RELRO',
    'static',
    segment(PT.PT_GNU_RELRO, { p_vaddr: 0x400000n, p_offset: 0n, p_memsz: 16n }),
  ],
  ['unwind tables of another version', 'error', 'ELF_EH_FRAME_HDR', 'pie', contents('.eh_frame_hdr', 0, 2)],
]);

testBreakages([
  [
    'code that is not executable any more',
    'error',
    'ELF_ENTRY',
    'static',
    bytes => {
      for (let i = 0; i < 4; i++) setSegment(i, { p_flags: PF.PF_R })(bytes);
      return setByte(0, base('static')[0] ?? 0)(bytes);
    },
  ],
]);
