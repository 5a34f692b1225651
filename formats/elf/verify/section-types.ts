/**
 * Rules about what sh_link, sh_info, sh_entsize and the contents of a section are, by its type. gABI 4.1,
 * "Sections" (the table of sh_link and sh_info), "Section Groups" and "Compressed Sections"; LSB 5.0 core,
 * 10.7, for versions.
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import { viewOf } from '../../struct.ts';
import { ET, SHF, SHT } from '../constants.ts';
import { sectionContents } from '../find.ts';
import { type ElfFile, type ElfSection, readContents, sectionSize } from '../model.ts';
import { LE } from '../structs.ts';
import { hasFlag, isAllocated, isPowerOfTwo, nameOfSection, type Rule, sectionsOf, strict } from './rule.ts';

const STRINGS = [SHT.SHT_STRTAB] as const;
const SYMBOLS = [SHT.SHT_SYMTAB, SHT.SHT_DYNSYM] as const;

/** What sh_link of a type leads to. */
const LINKS: ReadonlyMap<number, readonly number[]> = new Map<number, readonly number[]>([
  [SHT.SHT_SYMTAB, STRINGS],
  [SHT.SHT_DYNSYM, STRINGS],
  [SHT.SHT_DYNAMIC, STRINGS],
  [SHT.SHT_GNU_verdef, STRINGS],
  [SHT.SHT_GNU_verneed, STRINGS],
  [SHT.SHT_HASH, SYMBOLS],
  [SHT.SHT_GNU_HASH, SYMBOLS],
  [SHT.SHT_GNU_versym, SYMBOLS],
  [SHT.SHT_GROUP, SYMBOLS],
  [SHT.SHT_SYMTAB_SHNDX, SYMBOLS],
]);

/** Bytes of an entry, where a type has one kind of them. */
const ENTRY_SIZES: ReadonlyMap<number, number> = new Map<number, number>([
  [SHT.SHT_SYMTAB, 24],
  [SHT.SHT_DYNSYM, 24],
  [SHT.SHT_RELA, 24],
  [SHT.SHT_REL, 16],
  [SHT.SHT_RELR, 8],
  [SHT.SHT_DYNAMIC, 16],
  [SHT.SHT_GNU_versym, 2],
  [SHT.SHT_GROUP, 4],
  [SHT.SHT_SYMTAB_SHNDX, 4],
]);

function* links({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const { type, link } = section;
    const name = nameOfSection(section, index);
    if (link >= sections.length) {
      yield strict(
        'ELF_SECTION_LINK',
        `sh_link of ${name} is ${link}, expected one of ${sections.length} sections`,
      );
      continue;
    }
    const wanted = LINKS.get(type);
    const found = sections[link]?.type ?? SHT.SHT_NULL;
    if (wanted === undefined || wanted.includes(found)) continue;
    // The section may have been removed, with everything that it needs (strip of .dynsym's names in .debug files).
    const kinds = wanted.map(kind => nameOf(SHT, kind)).join(' or ');
    yield strict(
      'ELF_SECTION_LINK',
      `sh_link of ${name} is ${link}, a section of type ${nameOf(SHT, found)}, expected ${kinds}`,
    );
  }
}

/** Relocations in objects lead to their symbols and to the section that they change. */
function* relocationLinks({ header, sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const { type, link, info, flags } = section;
    if (type !== SHT.SHT_RELA && type !== SHT.SHT_REL) continue;
    const name = nameOfSection(section, index);
    const symbols = sections[link]?.type ?? SHT.SHT_NULL;
    // Static executables have relocations for IRELATIVE that need no symbols.
    if (
      symbols !== SHT.SHT_SYMTAB &&
      symbols !== SHT.SHT_DYNSYM &&
      (link !== 0 || header.type === ET.ET_REL)
    ) {
      yield strict('ELF_SECTION_LINK', `sh_link of ${name} is ${link}, expected a section of symbols`);
    }
    const needsTarget = header.type === ET.ET_REL || hasFlag(flags, SHF.SHF_INFO_LINK);
    if ((needsTarget && info === 0) || info >= sections.length) {
      yield strict(
        'ELF_SECTION_INFO',
        `sh_info of ${name} is ${info}, expected the section that is relocated`,
      );
    }
  }
}

function* entries({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const size = sectionSize(section);
    const wanted = ENTRY_SIZES.get(section.type) ?? section.entsize;
    // A compressed section is of another size than what is in it.
    if (wanted === 0 || size === 0 || hasFlag(section.flags, SHF.SHF_COMPRESSED)) continue;
    const name = nameOfSection(section, index);
    if (section.entsize !== wanted) {
      yield strict('ELF_SECTION_ENTSIZE', `sh_entsize of ${name} is ${section.entsize}, expected ${wanted}`);
    }
    if (size % wanted !== 0) {
      yield strict(
        'ELF_SECTION_SIZE',
        `sh_size of ${name} is ${hex(size)}, expected a multiple of ${wanted}`,
        placeOf(section),
      );
    }
  }
}

/** gABI: arrays of pointers to functions; ld.so calls sh_size / 8 of them. */
function* arrays({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    const isArray =
      section.type === SHT.SHT_INIT_ARRAY ||
      section.type === SHT.SHT_FINI_ARRAY ||
      section.type === SHT.SHT_PREINIT_ARRAY;
    if (!isArray || sectionSize(section) % 8 === 0) continue;
    const name = nameOfSection(section, index);
    yield strict(
      'ELF_SECTION_SIZE',
      `sh_size of ${name} is ${hex(sectionSize(section))}, expected a multiple of 8`,
      placeOf(section),
    );
  }
}

/** gABI: sh_entsize is the size of each element, or of a character of SHF_STRINGS. For linkers: lld leaves 0 behind. */
function* merges({ header, sections }: ElfFile): Iterable<Finding> {
  if (header.type !== ET.ET_REL) return;
  for (const [index, section] of sections.entries()) {
    if (!hasFlag(section.flags, SHF.SHF_MERGE) || hasFlag(section.flags, SHF.SHF_COMPRESSED)) continue;
    const size = sectionSize(section);
    const name = nameOfSection(section, index);
    if (size > 0 && (section.entsize === 0 || size % section.entsize !== 0)) {
      yield strict(
        'ELF_SECTION_MERGE',
        `sh_entsize of ${name} is ${section.entsize}, expected a divisor of its size ${hex(size)} with SHF_MERGE`,
        placeOf(section),
      );
    }
  }
}

/** gABI: the group's flags, then indices of sections, each of which has SHF_GROUP. */
function* groups(file: ElfFile): Iterable<Finding> {
  const { sections } = file;
  for (const { section, index } of sectionsOf(file, [SHT.SHT_GROUP])) {
    const view = viewOf(sectionContents(section));
    for (let at = 4; at + 4 <= view.byteLength; at += 4) {
      const member = view.getUint32(at, LE);
      const found = sections[member];
      if (member !== 0 && found !== undefined && hasFlag(found.flags, SHF.SHF_GROUP)) continue;
      const name = nameOfSection(section, index);
      yield strict(
        'ELF_GROUP',
        `${name} has ${member} as a member, expected a section with SHF_GROUP`,
        placeOf(section),
      );
    }
  }
}

/** Elf64_Chdr: u32 ch_type (1 zlib, 2 zstd), u32 reserved, u64 ch_size, u64 ch_addralign. */
function* compressed({ sections }: ElfFile): Iterable<Finding> {
  for (const [index, section] of sections.entries()) {
    if (!hasFlag(section.flags, SHF.SHF_COMPRESSED)) continue;
    const name = nameOfSection(section, index);
    if (isAllocated(section) || section.type === SHT.SHT_NOBITS) {
      yield strict(
        'ELF_COMPRESSED',
        `${name} has SHF_COMPRESSED, expected it neither with SHF_ALLOC nor as SHT_NOBITS`,
      );
      continue;
    }
    const bytes = section.contents
      ? readContents(section.contents, 0, Math.min(24, sectionSize(section)))
      : NONE;
    const view = viewOf(bytes);
    const isHeader = bytes.length >= 24 && [1, 2].includes(view.getUint32(0, LE));
    if (isHeader && [0, 1].some(n => BigInt(n) === view.getBigUint64(16, LE))) continue;
    if (isHeader && isPowerOfTwo(Number(view.getBigUint64(16, LE)))) continue;
    yield strict(
      'ELF_COMPRESSED',
      `${name} has SHF_COMPRESSED, expected an Elf64_Chdr of zlib or zstd first`,
      placeOf(section),
    );
  }
}

const NONE = new Uint8Array(0);

export const SECTION_TYPE_RULES: readonly Rule[] = [
  links,
  relocationLinks,
  entries,
  arrays,
  merges,
  groups,
  compressed,
];

const placeOf = ({ offset }: ElfSection): { offset?: number } => (offset === undefined ? {} : { offset });
