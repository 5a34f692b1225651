/**
 * Rules about cores: what a debugger needs to find memory and threads. Linux 6.1, fs/binfmt_elf.c,
 * elf_core_dump() and write_note_info(); gdb 13, gdb/corelow.c; core(5).
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { EM, NT, PT } from '../constants.ts';
import type { ElfFile } from '../model.ts';
import { elfNotes } from '../notes.ts';
import { endOf, error, loads, type Rule, strict } from './rule.ts';

/** struct elf_prstatus of the kernels for these machines, in bytes. */
const PRSTATUS_SIZES: ReadonlyMap<number, number> = new Map<number, number>([
  [EM.EM_X86_64, 336],
  [EM.EM_AARCH64, 392],
]);

/** One PT_NOTE, with an NT_PRSTATUS for each thread. */
function* threads(file: ElfFile): Iterable<Finding> {
  const count = file.segments.filter(({ type }) => type === PT.PT_NOTE).length;
  if (count !== 1) yield strict('ELF_CORE_NOTES', `the core has ${count} PT_NOTE segments, expected one`);
  const statuses = elfNotes(file).filter(({ owner, type }) => owner === 'CORE' && type === NT.NT_PRSTATUS);
  if (statuses.length === 0)
    yield error('ELF_CORE_THREADS', 'the core has no NT_PRSTATUS, expected one a thread');
  const size = PRSTATUS_SIZES.get(file.header.machine);
  for (const { desc } of statuses) {
    if (size === undefined || desc.length === size) continue;
    yield error('ELF_CORE_THREADS', `an NT_PRSTATUS has ${desc.length} bytes, expected ${size}`);
  }
}

/** elf_core_dump() writes memory in ascending order, each stretch once. */
function* memory(file: ElfFile): Iterable<Finding> {
  const size = file.source?.size ?? 0;
  const list = loads(file);
  for (const [i, { segment, index }] of list.entries()) {
    const { address, offset, fileSize, memorySize } = segment;
    if (fileSize > memorySize) {
      const message = `p_filesz of segment ${index} is ${hex(fileSize)}, expected at most its p_memsz ${hex(memorySize)}`;
      yield error('ELF_LOAD_FILESZ', message, { offset, address });
    }
    if (offset + fileSize > size && fileSize > 0) {
      const message = `segment ${index} ends at ${hex(offset + fileSize)}, expected within the file's ${hex(size)} bytes`;
      yield error('ELF_SEGMENT_PAST_END', `the core is cut off: ${message}`, { offset, address });
    }
    const before = list[i - 1];
    if (before === undefined || address >= endOf(before.segment)) continue;
    yield strict(
      'ELF_LOAD_ORDER',
      `segment ${index} begins at ${hex(address)}, expected it after the end ${hex(endOf(before.segment))} of segment ${before.index}`,
      { offset, address },
    );
  }
}

export const CORE_RULES: readonly Rule[] = [threads, memory];
