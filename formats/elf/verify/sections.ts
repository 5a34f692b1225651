/**
 * Rules about section headers. Nothing that loads a program looks at them; linkers, debuggers and strip do.
 * gABI 4.1, "Sections"; elfutils 0.188, src/elflint.c, check_sections().
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { flagNames, nameOf } from '../../names.ts';
import { PF, PN_XNUM, SHF, SHN, SHT } from '../constants.ts';
import { type ElfFile, type ElfSection, hasFileBytes, readContents, sectionSize } from '../model.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr } from '../structs.ts';
import {
  hasFlag,
  isAllocated,
  isDebugFile,
  isLoadable,
  isPowerOfTwo,
  loadIndex,
  nameOfSection,
  type Rule,
  sectionEnd,
  strict,
  type VerifyElfOptions,
} from './rule.ts';

/** gABI: section 0 is all zeros but for the numbers that are too large for the header, which says so then. */
function* sectionZero({ header: { asRead }, sections: [zero] }: ElfFile): Iterable<Finding> {
  if (zero === undefined) return;
  const { address, offset, flags, align, entsize, nameOffset, size, link, info } = zero;
  const mustBeZero = [offset, flags, align, entsize, nameOffset];
  if (asRead?.e_shnum !== 0) mustBeZero.push(size);
  if (asRead?.e_shstrndx !== SHN.SHN_XINDEX) mustBeZero.push(link);
  if (asRead?.e_phnum !== PN_XNUM) mustBeZero.push(info);
  if (address === 0n && mustBeZero.every(value => (value ?? 0) === 0)) return;
  yield strict(
    'ELF_SECTION_ZERO',
    'section 0 has fields that are not zero, expected only the numbers that are too large for the header',
  );
}

/** gABI: flags that exist, of the format, or in the ranges of operating systems and processors. */
function* flags({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const unknown = BigInt(section.flags) & ~KNOWN_FLAGS;
    if (unknown === 0n) continue;
    const says = `sh_flags of ${nameOfSection(section, index)} have ${hex(unknown)}`;
    yield strict('ELF_SECTION_FLAGS', `${says}, expected flags that are known`);
  }
}

/** SHF_MASKOS, SHF_MASKPROC. */
const KNOWN_FLAGS = Object.values(SHF).reduce((all, flag) => all | BigInt(flag), 0x0ff0_0000n | 0xf000_0000n);

/** gABI, "Special Sections": names whose sections have a type, by which tools find them. */
const TYPES: ReadonlyMap<string, number> = new Map<string, number>([
  ['.bss', SHT.SHT_NOBITS],
  ['.tbss', SHT.SHT_NOBITS],
  ['.dynamic', SHT.SHT_DYNAMIC],
  ['.dynstr', SHT.SHT_STRTAB],
  ['.strtab', SHT.SHT_STRTAB],
  ['.shstrtab', SHT.SHT_STRTAB],
  ['.dynsym', SHT.SHT_DYNSYM],
  ['.symtab', SHT.SHT_SYMTAB],
  ['.hash', SHT.SHT_HASH],
  ['.gnu.hash', SHT.SHT_GNU_HASH],
  ['.gnu.version', SHT.SHT_GNU_versym],
  ['.gnu.version_d', SHT.SHT_GNU_verdef],
  ['.gnu.version_r', SHT.SHT_GNU_verneed],
  ['.interp', SHT.SHT_PROGBITS],
]);

function* types(file: ElfFile): Iterable<Finding> {
  // What is left of a program in a debug file has no contents.
  if (isDebugFile(file)) return;
  for (const [index, section] of file.sections.entries()) {
    const wanted = TYPES.get(section.name);
    if (wanted === undefined || section.type === wanted) continue;
    const found = nameOf(SHT, section.type);
    yield strict(
      'ELF_SECTION_TYPE',
      `${nameOfSection(section, index)} is of type ${found}, expected ${nameOf(SHT, wanted)}`,
    );
  }
}

/** gABI: sh_addralign is 0, 1 or a power of two, and sh_addr a multiple of it. */
function* alignment({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const { align, address, type } = section;
    if (type === SHT.SHT_NULL || align <= 1) continue;
    const name = nameOfSection(section, index);
    if (!isPowerOfTwo(align)) {
      yield strict(
        'ELF_SECTION_ALIGN',
        `sh_addralign of ${name} is ${hex(align)}, expected 0, 1 or a power of two`,
      );
    } else if (address % BigInt(align) !== 0n) {
      yield strict(
        'ELF_SECTION_ALIGN',
        `sh_addr of ${name} is ${hex(address)}, expected a multiple of its sh_addralign ${hex(align)}`,
        { address },
      );
    }
  }
}

/** gABI: "sections in a file may not overlap": neither each other nor the headers. */
function* overlaps(file: ElfFile): Iterable<Finding> {
  const { phoff = 0, shoff = 0, segments, sections } = file;
  const parts = [
    { name: 'the ELF header', start: 0, end: Elf64_Ehdr.size },
    { name: 'the program headers', start: phoff, end: phoff + segments.length * Elf64_Phdr.size },
    { name: 'the section headers', start: shoff, end: shoff + sections.length * Elf64_Shdr.size },
    ...sections.map((section, index) => {
      const start = section.offset ?? 0;
      const size = hasFileBytes(section) ? sectionSize(section) : 0;
      return { name: nameOfSection(section, index), start, end: start + size };
    }),
  ]
    .filter(({ start, end }) => end > start)
    .sort((a, b) => a.start - b.start);
  let last = parts[0];
  for (const part of parts.slice(1)) {
    if (last !== undefined && part.start < last.end) {
      yield strict(
        'ELF_SECTION_OVERLAP',
        `${part.name} begins at ${hex(part.start)}, expected it after the end ${hex(last.end)} of ${last.name}`,
        { offset: part.start },
      );
    }
    if (last === undefined || part.end > last.end) last = part;
  }
}

/** Allocated sections do not share memory, but for .tbss, which takes none. */
function* memoryOverlaps(file: ElfFile): Iterable<Finding> {
  if (!isLoadable(file)) return;
  const parts = file.sections
    .map((section, index) => ({ section, index }))
    .filter(({ section }) => isAllocated(section) && sectionSize(section) > 0 && !isThreadBss(section))
    .sort((a, b) => (a.section.address < b.section.address ? -1 : 1));
  for (const [i, { section, index }] of parts.entries()) {
    const before = parts[i - 1];
    if (!before || section.address >= sectionEnd(before.section)) continue;
    yield strict(
      'ELF_SECTION_OVERLAP',
      `${nameOfSection(section, index)} begins at ${hex(section.address)}, expected it after the end ${hex(sectionEnd(before.section))} of ${nameOfSection(before.section, before.index)}`,
      { address: section.address },
    );
  }
}

const isThreadBss = ({ type, flags }: ElfSection): boolean =>
  type === SHT.SHT_NOBITS && hasFlag(flags, SHF.SHF_TLS);

/** elflint: "alloc flag set but section not in any loaded segment"; its offset is that of its address. */
function* inSegments(file: ElfFile, { mapsItself = false }: VerifyElfOptions): Iterable<Finding> {
  if (!isLoadable(file) || isDebugFile(file) || file.segments.length === 0) return;
  const loadAt = loadIndex(file);
  for (const [index, section] of file.sections.entries()) {
    const size = sectionSize(section);
    if (!isAllocated(section) || size === 0 || isThreadBss(section)) continue;
    const { address, offset = 0, flags } = section;
    const name = nameOfSection(section, index);
    const load = loadAt(address, size);
    if (load === undefined) {
      if (mapsItself) continue;
      yield strict('ELF_SECTION_UNLOADED', `${name} is at ${hex(address)}, expected it within a PT_LOAD`, {
        address,
      });
      continue;
    }
    const expected = Number(address - load.address) + load.offset;
    if (hasFileBytes(section) && offset !== expected) {
      yield strict(
        'ELF_SECTION_OFFSET',
        `sh_offset of ${name} is ${hex(offset)}, expected ${hex(expected)} as its PT_LOAD has it`,
        {
          offset,
          address,
        },
      );
    }
    const needed =
      (hasFlag(flags, SHF.SHF_WRITE) ? PF.PF_W : 0) | (hasFlag(flags, SHF.SHF_EXECINSTR) ? PF.PF_X : 0);
    if ((load.flags & needed) !== needed) {
      yield strict(
        'ELF_SECTION_FLAGS',
        `${name} is in a PT_LOAD with ${flagNames(PF, load.flags)}, expected ${flagNames(PF, needed)} with its flags ${flagNames(SHF, flags)}`,
        { address },
      );
    }
  }
}

/** gABI, "String Table": the first byte is a NUL, and so is the last. */
function* stringTables({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const size = sectionSize(section);
    if (section.type !== SHT.SHT_STRTAB || !section.contents || size === 0) continue;
    const { contents, offset = 0 } = section;
    const isNul = (at: number): boolean => readContents(contents, at, 1)[0] === 0;
    if (isNul(0) && isNul(size - 1)) continue;
    const message = `${nameOfSection(section, index)} is a string table, expected it to begin and end with a NUL`;
    yield strict('ELF_STRING_TABLE', message, { offset });
  }
}

export const SECTION_RULES: readonly Rule[] = [
  sectionZero,
  flags,
  types,
  alignment,
  overlaps,
  memoryOverlaps,
  inSegments,
  stringTables,
];
