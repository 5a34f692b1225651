/**
 * Rules about the segments that are not loaded but say something about those that are. gABI 4.1, "Program
 * Header"; Linux 6.1, fs/binfmt_elf.c; glibc 2.36, elf/rtld.c and elf/dl-reloc.c.
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import { PF, PT, SHF } from '../constants.ts';
import { findSection, segmentContents } from '../find.ts';
import { type ElfFile, type ElfSegment, sectionSize } from '../model.ts';
import { Elf64_Phdr } from '../structs.ts';
import {
  endOf,
  error,
  hasFlag,
  isAllocated,
  isPowerOfTwo,
  isProgram,
  loadAt,
  loadIndex,
  nameOfSection,
  type Rule,
  sectionEnd,
  strict,
} from './rule.ts';

/** PATH_MAX of linux/limits.h. */
const PATH_MAX = 4096;

/** gABI: PT_INTERP, PT_PHDR and PT_TLS "may not occur more than once". The others follow that. */
function* once(file: ElfFile): Iterable<Finding> {
  for (const type of ONCE) {
    const count = file.segments.filter(segment => segment.type === type).length;
    if (count > 1)
      yield strict('ELF_SEGMENT_TWICE', `there are ${count} ${nameOf(PT, type)} segments, expected one`);
  }
}

const ONCE = [
  PT.PT_INTERP,
  PT.PT_PHDR,
  PT.PT_TLS,
  PT.PT_DYNAMIC,
  PT.PT_GNU_STACK,
  PT.PT_GNU_RELRO,
  PT.PT_GNU_EH_FRAME,
  PT.PT_GNU_PROPERTY,
];

/** gABI: PT_INTERP and PT_PHDR "must precede any loadable segment entry". */
function* early({ segments }: ElfFile): Iterable<Finding> {
  const firstLoad = segments.findIndex(({ type }) => type === PT.PT_LOAD);
  for (const [index, { type }] of segments.entries()) {
    if ((type !== PT.PT_INTERP && type !== PT.PT_PHDR) || firstLoad < 0 || index < firstLoad) continue;
    yield strict(
      'ELF_SEGMENT_LATE',
      `${nameOf(PT, type)} is segment ${index}, expected it before the PT_LOAD that is segment ${firstLoad}`,
    );
  }
}

/** gABI: values that exist, or those of operating systems (PT_LOOS) and processors (to PT_HIPROC). */
function* types({ segments }: ElfFile): Iterable<Finding> {
  for (const [index, { type }] of segments.entries()) {
    if (type <= PT.PT_TLS || (type >= PT_LOOS && type <= PT_HIPROC)) continue;
    yield strict('ELF_SEGMENT_TYPE', `p_type of segment ${index} is ${hex(type)}, expected a PT_* value`);
  }
}

const PT_LOOS = 0x6000_0000;
const PT_HIPROC = 0x7fff_ffff;

/** elflint: "file size greater than memory size", of what is in memory; PT_LOAD has a rule of its own. */
function* sizes({ segments }: ElfFile): Iterable<Finding> {
  for (const [index, { type, fileSize, memorySize, offset }] of segments.entries()) {
    if (type === PT.PT_LOAD || type === PT.PT_TLS || memorySize === 0 || fileSize <= memorySize) continue;
    const says = `p_filesz of segment ${index} (${nameOf(PT, type)}) is ${hex(fileSize)}`;
    yield strict('ELF_SEGMENT_FILESZ', `${says}, expected at most its p_memsz ${hex(memorySize)}`, {
      offset,
    });
  }
}

/** elflint: segments and the sections that are the same thing, of one place and size. */
const SECTIONS: ReadonlyMap<number, string> = new Map<number, string>([
  [PT.PT_INTERP, '.interp'],
  [PT.PT_DYNAMIC, '.dynamic'],
  [PT.PT_GNU_EH_FRAME, '.eh_frame_hdr'],
]);

function* sameSections(file: ElfFile): Iterable<Finding> {
  for (const { type, offset, fileSize } of file.segments) {
    const name = SECTIONS.get(type);
    const section = name === undefined ? undefined : findSection(file, name);
    if (section === undefined || (section.offset === offset && sectionSize(section) === fileSize)) continue;
    const found = `${hex(sectionSize(section))} at ${hex(section.offset ?? 0)}`;
    yield strict(
      'ELF_SEGMENT_SECTION',
      `${nameOf(PT, type)} is ${hex(fileSize)} bytes at ${hex(offset)}, expected as ${name}: ${found}`,
      {
        offset,
      },
    );
  }
}

/** ELF TLS ABI: sections with SHF_TLS are what PT_TLS is made of. */
function* threadLocalSections({ segments, sections }: ElfFile): Iterable<Finding> {
  const segment = segments.find(({ type }) => type === PT.PT_TLS);
  for (const [index, section] of sections.entries()) {
    if (!hasFlag(section.flags, SHF.SHF_TLS) || !isAllocated(section)) continue;
    const isInside =
      segment !== undefined && section.address >= segment.address && sectionEnd(section) <= endOf(segment);
    if (isInside) continue;
    const name = nameOfSection(section, index);
    yield strict('ELF_TLS', `${name} has SHF_TLS and is at ${hex(section.address)}, expected within PT_TLS`, {
      address: section.address,
    });
  }
}

/** load_elf_binary(): "p_filesz > PATH_MAX || p_filesz < 2" and a path without its NUL are ENOEXEC. */
function* interpreter(file: ElfFile): Iterable<Finding> {
  const segment = file.segments.find(({ type }) => type === PT.PT_INTERP);
  if (segment === undefined) return;
  const { offset, fileSize } = segment;
  if (fileSize < 2 || fileSize > PATH_MAX) {
    yield error('ELF_INTERP', `p_filesz of PT_INTERP is ${hex(fileSize)}, expected 2 to ${PATH_MAX} bytes`, {
      offset,
    });
    return;
  }
  const bytes = segmentContents(file, segment);
  if (bytes[fileSize - 1] !== 0) {
    yield error('ELF_INTERP', `the path in PT_INTERP ends with byte ${bytes[fileSize - 1]}, expected a NUL`, {
      offset,
    });
  }
  if (bytes[0] !== 0x2f) {
    yield strict('ELF_INTERP', `the path in PT_INTERP begins with byte ${bytes[0]}, expected '/'`, {
      offset,
    });
  }
}

/** rtld.c: the load address is that of the table minus p_vaddr of PT_PHDR. */
function* programHeaders(file: ElfFile): Iterable<Finding> {
  const segment = file.segments.find(({ type }) => type === PT.PT_PHDR);
  if (segment === undefined) return;
  const { address, offset } = segment;
  const size = file.segments.length * Elf64_Phdr.size;
  if (segment.fileSize !== size || offset !== file.phoff) {
    yield error(
      'ELF_PHDR',
      `PT_PHDR is ${hex(segment.fileSize)} bytes at ${hex(offset)}, expected the table: ${hex(size)} at ${hex(file.phoff ?? 0)}`,
      { offset },
    );
  }
  const load = loadAt(file, address, size);
  if (load === undefined || load.address - BigInt(load.offset) !== address - BigInt(offset)) {
    yield error(
      'ELF_PHDR',
      `PT_PHDR is at ${hex(address)}, expected where a PT_LOAD has the table in memory`,
      {
        address,
      },
    );
  }
}

/** AT_PHDR is 0 where no PT_LOAD has the table (Linux 5.18 and later); ld.so cannot do without. */
function* headersInMemory({ phoff = 0, segments }: ElfFile): Iterable<Finding> {
  const holds = segments.some(
    ({ type, offset, fileSize }) => type === PT.PT_LOAD && offset <= phoff && phoff < offset + fileSize,
  );
  if (holds || !segments.some(({ type }) => type === PT.PT_INTERP)) return;
  yield error('ELF_PHDR', `no PT_LOAD has the program headers at ${hex(phoff)}, expected one with them`, {
    offset: phoff,
  });
}

/**
 * create_elf_tables() of Linux before 5.18: AT_PHDR is e_phoff behind the place where offset 0 would be, by the first
 * PT_LOAD; glibc's static start code takes the same from __ehdr_start. What moves the table has to keep to that.
 */
function* headersByDistance(file: ElfFile): Iterable<Finding> {
  const { phoff = 0, segments } = file;
  if (!isProgram(file)) return;
  const loads = segments.filter(({ type }) => type === PT.PT_LOAD);
  const [first] = loads;
  const load = loads.find(({ offset, fileSize }) => offset <= phoff && phoff < offset + fileSize);
  if (first === undefined || load === undefined) return;
  const distance = ({ address, offset }: ElfSegment): bigint => address - BigInt(offset);
  if (distance(first) === distance(load)) return;
  const expected = hex(load.address - distance(first));
  yield strict(
    'ELF_PHDR_DISTANCE',
    `the PT_LOAD with the program headers is at ${hex(load.offset)} of the file, expected ${expected}: kernels before 5.18 look there`,
    place(load),
  );
}

/** Segments that say something about loaded memory are in it, at the place that the file has for it. */
function* inside(file: ElfFile): Iterable<Finding> {
  const loadAt = loadIndex(file);
  for (const [index, segment] of file.segments.entries()) {
    const { type, address, offset, memorySize, fileSize } = segment;
    if (!INSIDE.has(type) || memorySize === 0) continue;
    const name = `${nameOf(PT, type)} (segment ${index})`;
    // .tbss takes no room in memory: only the bytes of PT_TLS are loaded.
    const load = loadAt(address, type === PT.PT_TLS ? fileSize : memorySize);
    if (load === undefined) {
      const end = hex(address + BigInt(memorySize));
      yield error(
        'ELF_SEGMENT_UNLOADED',
        `${name} is ${hex(address)} to ${end}, expected it within a PT_LOAD`,
        {
          address,
        },
      );
    } else if (fileSize > 0 && address - BigInt(offset) !== load.address - BigInt(load.offset)) {
      const expected = hex(address - load.address + BigInt(load.offset));
      yield error(
        'ELF_SEGMENT_OFFSET',
        `${name} is at ${hex(offset)} of the file, expected ${expected} as its PT_LOAD has it`,
        {
          offset,
          address,
        },
      );
    }
  }
}

const INSIDE: ReadonlySet<number> = new Set([
  PT.PT_DYNAMIC,
  PT.PT_INTERP,
  PT.PT_TLS,
  PT.PT_GNU_EH_FRAME,
  PT.PT_GNU_RELRO,
  PT.PT_GNU_PROPERTY,
]);

/** ELF TLS ABI: p_filesz bytes of template, zeros up to p_memsz; alignment a power of two. */
function* threadLocal(file: ElfFile): Iterable<Finding> {
  const segment = file.segments.find(({ type }) => type === PT.PT_TLS);
  if (segment === undefined) return;
  const { align, fileSize, memorySize, offset } = segment;
  if (fileSize > memorySize) {
    const message = `p_filesz of PT_TLS is ${hex(fileSize)}, expected at most its p_memsz ${hex(memorySize)}`;
    yield error('ELF_TLS', message, { offset });
  }
  if (align > 1 && !isPowerOfTwo(align)) {
    yield error('ELF_TLS', `p_align of PT_TLS is ${hex(align)}, expected a power of two`, { offset });
  }
}

/** dl-reloc.c makes the whole pages of it read-only, once relocated: it has been writable before. */
function* relro(file: ElfFile): Iterable<Finding> {
  const segment = file.segments.find(({ type }) => type === PT.PT_GNU_RELRO);
  if (segment === undefined || segment.memorySize === 0) return;
  const load = loadAt(file, segment.address, segment.memorySize);
  if (load === undefined || (load.flags & PF.PF_W) !== 0) return;
  yield strict(
    'ELF_RELRO',
    `PT_GNU_RELRO is at ${hex(segment.address)}, expected it in a writable PT_LOAD`,
    place(segment),
  );
}

/** LSB 5.0 core, 10.6.2: version 1, then encodings; libgcc gives up on another version. */
function* ehFrameHeader(file: ElfFile): Iterable<Finding> {
  const segment = file.segments.find(({ type }) => type === PT.PT_GNU_EH_FRAME);
  if (segment === undefined || segment.fileSize === 0) return;
  const [version] = segmentContents(file, { ...segment, fileSize: 1 });
  if (version === 1) return;
  yield error('ELF_EH_FRAME_HDR', `.eh_frame_hdr has version ${version}, expected 1`, place(segment));
}

export const SPECIAL_SEGMENT_RULES: readonly Rule[] = [
  once,
  early,
  types,
  sizes,
  sameSections,
  threadLocalSections,
  interpreter,
  programHeaders,
  headersInMemory,
  headersByDistance,
  inside,
  threadLocal,
  relro,
  ehFrameHeader,
];

const place = ({ offset, address }: ElfSegment): { offset: number; address: bigint } => ({ offset, address });
