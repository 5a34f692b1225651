/**
 * A core as Linux writes them: program headers, notes, then the memory of each segment at page
 * boundaries; no sections, except the null section where there are more segments than e_phnum holds.
 *
 * @module
 */
import {
  type ElfFile,
  ET,
  encodeNotes,
  NT,
  newElf,
  newSegment,
  PF,
  PT,
} from '../../../../formats/elf/index.ts';

const PAGE = 0x1000;

/** `memory`: contents of each PT_LOAD, from 0x10000000 on, a page apart from each other. */
export function core(memory: readonly Uint8Array[]): ElfFile {
  const file = newElf({ type: ET.ET_CORE });
  const notes = encodeNotes(
    [
      { owner: 'CORE', type: NT.NT_PRSTATUS, desc: new Uint8Array(336).fill(1) },
      { owner: 'CORE', type: NT.NT_PRPSINFO, desc: new Uint8Array(136).fill(2) },
      { owner: 'LINUX', type: NT.NT_X86_XSTATE, desc: new Uint8Array(832).fill(3) },
    ],
    4,
  );
  let offset = 64 + 56 * (memory.length + 1);
  file.segments.push(newSegment({ type: PT.PT_NOTE, flags: 0, align: 4, offset, fileSize: notes.length }));
  file.kept.push({ offset, contents: notes });
  offset += notes.length;
  for (const [i, contents] of memory.entries()) {
    offset = Math.ceil(offset / PAGE) * PAGE;
    const size = contents.length;
    const address = 0x10000000n + BigInt(2 * PAGE * i);
    const flags = PF.PF_R | PF.PF_W;
    file.segments.push(
      newSegment({
        type: PT.PT_LOAD,
        flags,
        align: PAGE,
        address,
        offset,
        fileSize: size,
        memorySize: 2 * size,
      }),
    );
    file.kept.push({ offset, contents });
    offset += size;
  }
  return file;
}
