/**
 * Rules about program headers: what Linux and ld.so do with PT_LOAD before anything of the program runs.
 * Linux 6.1, fs/binfmt_elf.c, load_elf_phdrs() and load_elf_binary(); glibc 2.36, elf/dl-load.c,
 * _dl_map_object_from_fd(); gABI 4.1, "Program Header" and "Program Loading".
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { ET, PF, PT } from '../constants.ts';
import type { ElfFile, ElfSegment } from '../model.ts';
import { Elf64_Phdr } from '../structs.ts';
import { endOf, error, isArm, isPowerOfTwo, isProgram, loads, PAGE, type Rule, strict } from './rule.ts';

/** load_elf_phdrs(): "size == 0 || size > 65536" is ENOEXEC. */
const MAX_PHDRS_SIZE = 65536;
/** /proc/sys/vm/mmap_min_addr as distributions set it. */
const MIN_ADDRESS = 0x10000n;
/** TASK_SIZE_MAX of x86-64 with four levels of page tables, and of AArch64 with 48 bits. */
const TASK_SIZE_X86 = 0x7fff_ffff_f000n;
const TASK_SIZE_ARM = 0x1_0000_0000_0000n;

function* phdrCount(file: ElfFile): Iterable<Finding> {
  const count = file.segments.length;
  if (!isProgram(file) || (count > 0 && count * Elf64_Phdr.size <= MAX_PHDRS_SIZE)) return;
  const most = Math.floor(MAX_PHDRS_SIZE / Elf64_Phdr.size);
  yield error('ELF_PHNUM_KERNEL', `e_phnum is ${count}, expected 1 to ${most} for Linux to start it`);
}

/** dl-load.c: "object file has no loadable segments"; Linux: total_mapping_size() is 0, EINVAL. */
function* hasLoad(file: ElfFile): Iterable<Finding> {
  if (loads(file).length > 0) return;
  yield error('ELF_NO_LOAD', `none of ${file.segments.length} segments is a PT_LOAD, expected one at least`);
}

/** Past the end of the file memory is mapped that gives SIGBUS. gABI: p_filesz bytes are in the file. */
function* withinFile(file: ElfFile): Iterable<Finding> {
  const size = file.source?.size ?? 0;
  for (const [index, { type, offset, fileSize }] of file.segments.entries()) {
    if (type === PT.PT_NULL || fileSize === 0 || offset + fileSize <= size) continue;
    const end = hex(offset + fileSize);
    yield error(
      'ELF_SEGMENT_PAST_END',
      `segment ${index} ends at ${end} of the file, expected to end within its ${hex(size)} bytes`,
      { offset },
    );
  }
}

/** load_elf_binary(): "elf_ppnt->p_filesz > elf_ppnt->p_memsz" is EINVAL. */
function* fileSizes(file: ElfFile): Iterable<Finding> {
  for (const { segment, index } of loads(file)) {
    if (segment.fileSize <= segment.memorySize) continue;
    yield error(
      'ELF_LOAD_FILESZ',
      `p_filesz of segment ${index} is ${hex(segment.fileSize)}, expected at most its p_memsz ${hex(segment.memorySize)}`,
      place(segment),
    );
  }
}

/** load_elf_binary(): BAD_ADDR(k) and "TASK_SIZE - elf_ppnt->p_memsz < k"; mmap(2): below mmap_min_addr EPERM. */
function* addresses(file: ElfFile): Iterable<Finding> {
  const limit = isArm(file) ? TASK_SIZE_ARM : TASK_SIZE_X86;
  for (const { segment, index } of loads(file)) {
    if (endOf(segment) > limit) {
      yield error(
        'ELF_LOAD_ADDRESS',
        `segment ${index} ends at ${hex(endOf(segment))}, expected at most ${hex(limit)}, where addresses of programs end`,
        place(segment),
      );
    }
    if (file.header.type === ET.ET_EXEC && segment.address < MIN_ADDRESS && segment.memorySize > 0) {
      yield error(
        'ELF_LOAD_ADDRESS',
        `segment ${index} begins at ${hex(segment.address)}, expected ${hex(MIN_ADDRESS)} (vm.mmap_min_addr) or more`,
        place(segment),
      );
    }
  }
}

/**
 * elf_map() maps from p_offset minus the place of p_vaddr in its page: mmap(2) refuses an offset that is no
 * page's. dl-load.c: "ELF load command address/offset not page-aligned". gABI: congruent modulo p_align.
 */
function* congruence(file: ElfFile): Iterable<Finding> {
  for (const { segment, index } of loads(file)) {
    const { address, offset, align, fileSize } = segment;
    const apart = address - BigInt(offset);
    const says = `p_vaddr ${hex(address)} and p_offset ${hex(offset)} of segment ${index}`;
    if (fileSize > 0 && apart % BigInt(PAGE) !== 0n) {
      yield error(
        'ELF_LOAD_CONGRUENT',
        `${says} differ, expected them equal modulo the page ${hex(PAGE)}`,
        place(segment),
      );
    } else if (fileSize > 0 && isPowerOfTwo(align) && apart % BigInt(align) !== 0n) {
      yield strict(
        'ELF_LOAD_CONGRUENT',
        `${says} differ, expected them equal modulo p_align ${hex(align)}`,
        place(segment),
      );
    }
  }
}

/** gABI: "0 and 1 mean no alignment … otherwise a positive, integral power of 2". dl-load.c wants whole pages. */
function* alignment(file: ElfFile): Iterable<Finding> {
  for (const [index, segment] of file.segments.entries()) {
    const { type, align } = segment;
    if (align > 1 && !isPowerOfTwo(align)) {
      yield strict(
        'ELF_SEGMENT_ALIGN',
        `p_align of segment ${index} is ${hex(align)}, expected 0, 1 or a power of two`,
        place(segment),
      );
    } else if (type === PT.PT_LOAD && !isProgram(file) && align % PAGE !== 0) {
      yield error(
        'ELF_SEGMENT_ALIGN',
        `p_align of segment ${index} is ${hex(align)}, expected a multiple of ${hex(PAGE)} for ld.so to load it`,
        place(segment),
      );
    }
  }
}

/**
 * gABI: PT_LOAD entries "appear in ascending order, sorted on the p_vaddr member"; ld.so takes the length of
 * the mapping from the first and the last. Two that overlap: the later mapping replaces the earlier one.
 */
function* order(file: ElfFile): Iterable<Finding> {
  const list = loads(file);
  for (const [i, { segment, index }] of list.entries()) {
    const before = list[i - 1];
    if (!before || segment.address >= before.segment.address) continue;
    const say = isProgram(file) ? strict : error;
    yield say(
      'ELF_LOAD_ORDER',
      `segment ${index} begins at ${hex(segment.address)}, expected it not before segment ${before.index} at ${hex(before.segment.address)}`,
      place(segment),
    );
  }
  const sorted = [...list].sort((a, b) => compare(a.segment.address, b.segment.address));
  for (const [i, { segment, index }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (!before || before.segment.memorySize === 0 || segment.memorySize === 0) continue;
    if (segment.address < endOf(before.segment)) {
      yield error(
        'ELF_LOAD_OVERLAP',
        `segment ${index} begins at ${hex(segment.address)}, expected it after the end ${hex(endOf(before.segment))} of segment ${before.index}`,
        place(segment),
      );
    } else if (pageOf(segment.address) < endOf(before.segment) && !shareFilePage(before.segment, segment)) {
      yield error(
        'ELF_LOAD_OVERLAP',
        `segment ${index} begins at ${hex(segment.address)} on the page on which segment ${before.index} ends, expected it on another one`,
        place(segment),
      );
    }
  }
}

/** Two segments on one page are right only where both map the same page of the file there. */
const shareFilePage = (a: ElfSegment, b: ElfSegment): boolean =>
  a.fileSize === a.memorySize && a.address - BigInt(a.offset) === b.address - BigInt(b.offset);

/**
 * load_elf_binary() clears the rest of the last page of the file's bytes (padzero), and fails with EFAULT
 * where that page is not writable: up to Linux 6.5 for the last bss of any program.
 */
function* zeroTail(file: ElfFile): Iterable<Finding> {
  if (!isProgram(file)) return;
  for (const { segment, index } of loads(file)) {
    const { address, fileSize, memorySize, flags } = segment;
    const end = address + BigInt(fileSize);
    if (fileSize === 0 || memorySize <= fileSize || end % BigInt(PAGE) === 0n || (flags & PF.PF_W) !== 0)
      continue;
    yield error(
      'ELF_LOAD_ZERO_TAIL',
      `segment ${index} has zeros from ${hex(end)} on but not PF_W, expected it writable or its bytes to end with a page`,
      { ...place(segment), address: end },
    );
  }
}

/** The entry point is where Linux jumps to, or ld.so when it is done. */
function* entry(file: ElfFile): Iterable<Finding> {
  const { entry: address } = file.header;
  // Libraries have 0, or the beginning of their code that nobody calls.
  if (!isProgram(file)) return;
  const segment = file.segments.find(
    s => s.type === PT.PT_LOAD && address >= s.address && address < endOf(s) && (s.flags & PF.PF_X) !== 0,
  );
  if (segment) return;
  yield error('ELF_ENTRY', `e_entry is ${hex(address)}, expected an address within an executable PT_LOAD`, {
    address,
  });
}

export const SEGMENT_RULES: readonly Rule[] = [
  phdrCount,
  hasLoad,
  withinFile,
  fileSizes,
  addresses,
  congruence,
  alignment,
  order,
  zeroTail,
  entry,
];

const place = ({ offset, address }: ElfSegment): { offset: number; address: bigint } => ({ offset, address });
const pageOf = (address: bigint): bigint => address - (address % BigInt(PAGE));
const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
