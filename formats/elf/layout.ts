/**
 * Computes what the model leaves open: counts, names, the place of every table and of every section
 * that has none, and the extents of segments that are made of sections. What has an offset keeps it, so
 * a caller can fix page-aligned places for gigabytes that it writes itself, and the rest goes around
 * them; a file that was read comes out as it was.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { ELF, joinParts, type LayoutPart, partOf, tablePart } from '../parts.ts';
import { type FieldValues, type Struct, viewOf } from '../struct.ts';
import { SHF } from './constants.ts';
import { layoutCounts } from './counts.ts';
import { layoutHeader } from './header.ts';
import { type ElfFile, type ElfSection, type ElfSegment, hasFileBytes, sectionSize } from './model.ts';
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
  const counts = layoutCounts(file, segments.length, shdrs, shstrndx);
  const header = layoutHeader(file.header, places.phoff, places.shoff, counts);

  // From here on every field is final.
  const parts = joinParts(ELF, file.source, [
    tablePart(file.source, 'the ELF header', 0, Elf64_Ehdr.encode(header, LE)),
    tablePart(file.source, 'the program header table', places.phoff, encodeAll(Elf64_Phdr, segments)),
    tablePart(file.source, 'the section header table', places.shoff, encodeAll(Elf64_Shdr, shdrs)),
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

function encodeAll<F>(of: Struct<F>, values: readonly FieldValues<F>[]): Uint8Array {
  const bytes = new Uint8Array(values.length * of.size);
  const view = viewOf(bytes);
  for (const [i, value] of values.entries()) of.write(view, i * of.size, value, LE);
  return bytes;
}

function sectionPart(section: ElfSection, index: number, offset: number): LayoutPart[] {
  if (!hasFileBytes(section)) return [];
  const what = `section ${index} (${section.name})`;
  return [{ what, offset, size: sectionSize(section), contents: section.contents }];
}
