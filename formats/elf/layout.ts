/**
 * Computes what the model leaves open: counts, names, the place of every table and of every section
 * that has none, and the extents of segments that are made of sections. What has an offset keeps it, so
 * a caller can fix page-aligned places for gigabytes that it writes itself, and the rest goes around
 * them; a file that was read comes out as it was.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { ELFCLASS, ELFDATA, EV, PN_XNUM, SHF, SHN } from './constants.ts';
import { type ElfFile, type ElfSection, type ElfSegment, hasFileBytes, sectionSize } from './model.ts';
import { joinParts, type LayoutPart, partOf } from './parts.ts';
import { place } from './place.ts';
import { nameSections } from './section-names.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr, LE } from './structs.ts';

/** A file with nothing left open. */
export interface ElfLayout {
  readonly header: Elf64_Ehdr;
  readonly segments: readonly Elf64_Phdr[];
  /** With `.shstrtab`, where the layout added it. */
  readonly sections: readonly Elf64_Shdr[];
  /** What the file is made of, in order of offset; between them is nothing, which reads as zero. */
  readonly parts: readonly LayoutPart[];
  /** Bytes in the file, external contents included. */
  readonly size: number;
}

/**
 * The layout of a file; the file is not changed.
 *
 * @throws FormatError `ELF_OVERLAP` where two things would be at one place, and others for a model that
 *   contradicts itself
 */
export function layoutElf(file: ElfFile): ElfLayout {
  const { sections, nameOffsets, shstrndx } = nameSections(file);
  const places = place(file, sections);
  const segments = file.segments.map((segment, i) => phdrOf(segment, i, sections, places.sections));
  const shdrs = sections.map((section, i) => shdrOf(section, nameOffsets[i] ?? 0, places.sections[i] ?? 0));
  const header = headerOf(file, { ...places, phnum: segments.length, shnum: sections.length, shstrndx });
  extendInSectionZero(shdrs, header, segments.length, shstrndx);

  // From here on every field is final.
  const parts = joinParts(file.source, [
    partOf('the ELF header', 0, Elf64_Ehdr.encode(header, LE)),
    partOf('the program header table', places.phoff, encodeAll(Elf64_Phdr, segments)),
    partOf('the section header table', places.shoff, encodeAll(Elf64_Shdr, shdrs)),
    ...sections.flatMap((section, i) => sectionPart(section, i, places.sections[i] ?? 0)),
    ...file.kept.map(({ offset, contents }) => partOf('bytes of no section', offset, contents)),
  ]);
  const last = parts.at(-1);
  return { header, segments, sections: shdrs, parts, size: last ? last.offset + last.size : 0 };
}

function phdrOf(
  segment: ElfSegment,
  index: number,
  sections: readonly ElfSection[],
  offsets: readonly number[],
): Elf64_Phdr {
  const extent = segment.sections ? extentOf(segment.sections, index, sections, offsets) : segment;
  return {
    p_type: segment.type,
    p_flags: segment.flags,
    p_offset: BigInt(extent.offset),
    p_vaddr: extent.address,
    p_paddr: extent.physicalAddress,
    p_filesz: BigInt(extent.fileSize),
    p_memsz: BigInt(extent.memorySize),
    p_align: BigInt(segment.align),
  };
}

/** Where the sections of a segment are, in the file and in memory. */
function extentOf(
  indices: readonly number[],
  segment: number,
  sections: readonly ElfSection[],
  offsets: readonly number[],
): Pick<ElfSegment, 'offset' | 'address' | 'physicalAddress' | 'fileSize' | 'memorySize'> {
  const bad = (why: string): FormatError =>
    new FormatError('ELF_BAD_SEGMENT', `ELF: segment ${segment} ${why}`, { value: segment });
  const first = sections[indices[0] ?? -1];
  const offset = offsets[indices[0] ?? -1];
  if (!first || offset === undefined) throw bad('is made of no sections, expected one or more');
  const address = first.address;
  let fileSize = 0;
  let memorySize = 0;
  for (const index of indices) {
    const section = sections[index];
    if (!section) throw bad(`is made of section ${index}, expected one of ${sections.length}`);
    const inFile = (offsets[index] ?? 0) - offset;
    const inMemory = Number(section.address - address);
    const size = sectionSize(section);
    const loaded = (section.flags & SHF.SHF_ALLOC) !== 0;
    if (hasFileBytes(section)) {
      if (inFile < 0 || (loaded && inFile !== inMemory)) {
        const name = `section ${index} (${section.name})`;
        throw bad(
          `has ${name} at ${hex(inFile)} of its bytes, expected ${hex(inMemory)}, where its address is`,
        );
      }
      fileSize = Math.max(fileSize, inFile + size);
    }
    if (loaded) memorySize = Math.max(memorySize, inMemory + size);
  }
  return { offset, address, physicalAddress: address, fileSize, memorySize };
}

const shdrOf = (section: ElfSection, nameOffset: number, offset: number): Elf64_Shdr => ({
  sh_name: nameOffset,
  sh_type: section.type,
  sh_flags: BigInt(section.flags),
  sh_addr: section.address,
  sh_offset: BigInt(offset),
  sh_size: BigInt(sectionSize(section)),
  sh_link: section.link,
  sh_info: section.info,
  sh_addralign: BigInt(section.align),
  sh_entsize: BigInt(section.entsize),
});

interface HeaderFacts {
  readonly phoff: number;
  readonly shoff: number;
  readonly phnum: number;
  readonly shnum: number;
  readonly shstrndx: number;
}

/** The header; a number that it has no room for becomes the mark that says so. */
function headerOf(file: ElfFile, { phoff, shoff, phnum, shnum, shstrndx }: HeaderFacts): Elf64_Ehdr {
  const { type, machine, entry, flags, osabi, abiVersion, asRead } = file.header;
  const zero = file.sections[0];
  const ident = new Uint8Array(16);
  if (asRead) ident.set(asRead.e_ident);
  ident.set([
    0x7f,
    0x45,
    0x4c,
    0x46,
    ELFCLASS.ELFCLASS64,
    ELFDATA.ELFDATA2LSB,
    EV.EV_CURRENT,
    osabi,
    abiVersion,
  ]);
  // A file may keep a number in section 0 that the header had room for: Linux does in some cores.
  const keepsPhnum = asRead?.e_phnum === PN_XNUM && zero?.info === phnum;
  const keepsShnum = asRead?.e_shnum === 0 && zero?.size === shnum;
  const keepsShstrndx = asRead?.e_shstrndx === SHN.SHN_XINDEX && zero?.link === shstrndx;
  return {
    e_ident: ident,
    e_type: type,
    e_machine: machine,
    e_version: EV.EV_CURRENT,
    e_entry: entry,
    e_phoff: BigInt(phoff),
    e_shoff: BigInt(shoff),
    e_flags: flags,
    e_ehsize: asRead?.e_ehsize ?? Elf64_Ehdr.size,
    e_phentsize: phnum > 0 ? Elf64_Phdr.size : (asRead?.e_phentsize ?? 0),
    e_phnum: phnum >= PN_XNUM || keepsPhnum ? PN_XNUM : phnum,
    e_shentsize: shnum > 0 ? Elf64_Shdr.size : (asRead?.e_shentsize ?? 0),
    e_shnum: shnum >= SHN.SHN_LORESERVE || keepsShnum ? 0 : shnum,
    e_shstrndx: shstrndx >= SHN.SHN_LORESERVE || keepsShstrndx ? SHN.SHN_XINDEX : shstrndx,
  };
}

/** Puts the numbers that the header only marks into section 0. EI_MAG and the marks: gABI 4.1. */
function extendInSectionZero(shdrs: Elf64_Shdr[], header: Elf64_Ehdr, phnum: number, shstrndx: number): void {
  const [zero] = shdrs;
  if (!zero) {
    if (header.e_phnum !== PN_XNUM) return;
    throw new FormatError(
      'ELF_BAD_PHNUM',
      `ELF: ${phnum} segments, expected a section 0 to hold their number`,
      {
        value: phnum,
      },
    );
  }
  if (header.e_phnum === PN_XNUM) zero.sh_info = phnum;
  if (header.e_shnum === 0) zero.sh_size = BigInt(shdrs.length);
  if (header.e_shstrndx === SHN.SHN_XINDEX) zero.sh_link = shstrndx;
}

interface Encodable<T> {
  readonly size: number;
  encode(value: T, le: boolean): Uint8Array;
}

function encodeAll<T>(of: Encodable<T>, values: readonly T[]): Uint8Array {
  const bytes = new Uint8Array(values.length * of.size);
  for (const [i, value] of values.entries()) bytes.set(of.encode(value, LE), i * of.size);
  return bytes;
}

function sectionPart(section: ElfSection, index: number, offset: number): LayoutPart[] {
  if (!hasFileBytes(section)) return [];
  const what = `section ${index} (${section.name})`;
  return [{ what, offset, size: sectionSize(section), contents: section.contents }];
}
