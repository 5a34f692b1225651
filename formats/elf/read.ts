/**
 * Reads an ELF64 little-endian file into the model. Headers and section names are read now, contents
 * when they are asked for, so that a core of many gigabytes costs a few pages. What is not understood
 * is kept: `writeElf(layoutElf(readElf(x)))` is `x`. gABI 4.1, "ELF Header", "Sections", "Program Header".
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../errors.ts';
import { type ByteSource, bytesSource, SourceSlice } from '../source.ts';
import { type FieldValues, type Struct, viewOf } from '../struct.ts';
import { SHN, SHT } from './constants.ts';
import { countSections, countSegments, indexOfNames } from './counts.ts';
import { sectionContents } from './find.ts';
import { badHeader, modelHeader, readHeader } from './header.ts';
import { type Contents, type ElfFile, type ElfSection, type ElfSegment, hasFileBytes } from './model.ts';
import { StringTable } from './strings.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr, LE } from './structs.ts';

/**
 * The file as a model, contents still in the source.
 *
 * @throws FormatError `ELF_BAD_MAGIC`, `ELF_UNSUPPORTED_CLASS` (ELF32), `ELF_UNSUPPORTED_DATA`
 *   (big-endian), `ELF_TRUNCATED` and others for a malformed file
 */
export function readElf(input: ByteSource | Uint8Array): ElfFile {
  const source = input instanceof Uint8Array ? bytesSource(input) : input;
  const ehdr = readHeader(source);
  const [zero] = readTable(source, Elf64_Shdr, 'section header', ehdr.e_shoff, ehdr.e_shoff === 0n ? 0 : 1);
  const shdrs = readTable(source, Elf64_Shdr, 'section header', ehdr.e_shoff, countSections(ehdr, zero));
  const phdrs = readTable(source, Elf64_Phdr, 'program header', ehdr.e_phoff, countSegments(ehdr, shdrs[0]));

  const file: ElfFile = {
    header: modelHeader(ehdr),
    segments: phdrs.map(segmentOf),
    sections: shdrs.map((shdr, index) => sectionOf(source, shdr, index)),
    shstrndx: indexOfNames(ehdr, shdrs[0]),
    phoff: toNumber('ELF: e_phoff', ehdr.e_phoff),
    shoff: toNumber('ELF: e_shoff', ehdr.e_shoff),
    kept: [],
    source,
  };
  readNames(file);
  file.kept = uncovered(file, source).map(([offset, end]) => ({
    offset,
    contents: new SourceSlice(source, offset, end - offset),
  }));
  return file;
}

/** A table of `count` structs, after checking that the file has them: a count alone reserves nothing. */
function readTable<F>(
  source: ByteSource,
  of: Struct<F>,
  what: string,
  offset: bigint,
  count: number,
): FieldValues<F>[] {
  if (count === 0) return [];
  const at = toNumber(`ELF: offset of the ${what} table`, offset);
  if (at > source.size || count > (source.size - at) / of.size) {
    throw truncated(`the ${what} table of ${count} entries`, at, count * of.size, source);
  }
  const view = viewOf(new SourceSlice(source, at, count * of.size).read(0, count * of.size));
  return Array.from({ length: count }, (_, i) => of.read(view, i * of.size, LE));
}

function segmentOf(phdr: Elf64_Phdr, index: number): ElfSegment {
  const number = (field: 'p_offset' | 'p_filesz' | 'p_memsz' | 'p_align') =>
    toNumber(`ELF: ${field} of segment ${index}`, phdr[field]);
  return {
    type: phdr.p_type,
    flags: phdr.p_flags,
    // Beyond the end of the file is no error here: separate debug files and cut-off cores are like that.
    offset: number('p_offset'),
    address: phdr.p_vaddr,
    physicalAddress: phdr.p_paddr,
    fileSize: number('p_filesz'),
    memorySize: number('p_memsz'),
    align: number('p_align'),
    sections: undefined,
  };
}

function sectionOf(source: ByteSource, shdr: Elf64_Shdr, index: number): ElfSection {
  const number = (field: 'sh_flags' | 'sh_offset' | 'sh_size' | 'sh_addralign' | 'sh_entsize') =>
    toNumber(`ELF: ${field} of section ${index}`, shdr[field]);
  const section: ElfSection = {
    name: '',
    type: shdr.sh_type,
    flags: number('sh_flags'),
    address: shdr.sh_addr,
    offset: number('sh_offset'),
    size: number('sh_size'),
    link: shdr.sh_link,
    info: shdr.sh_info,
    align: number('sh_addralign'),
    entsize: number('sh_entsize'),
    contents: undefined,
    nameOffset: shdr.sh_name,
  };
  if (index === 0 && section.type !== SHT.SHT_NULL) {
    const message = `ELF: sh_type of section 0 is ${hex(section.type)}, expected SHT_NULL`;
    throw new FormatError('ELF_BAD_SECTION_ZERO', message, { value: section.type });
  }
  if (hasFileBytes(section)) section.contents = sliceOf(source, section, index);
  return section;
}

function sliceOf(source: ByteSource, { offset = 0, size }: ElfSection, index: number): Contents {
  // Nothing may be anywhere, even past the end of the file.
  if (size === 0) return new Uint8Array(0);
  if (offset > source.size || size > source.size - offset) {
    throw truncated(`section ${index}`, offset, size, source);
  }
  return new SourceSlice(source, offset, size);
}

function readNames(file: ElfFile): void {
  if (file.sections.length === 0 || file.shstrndx === undefined || file.shstrndx === SHN.SHN_UNDEF) return;
  const table = file.sections[file.shstrndx];
  if (!table?.contents) {
    const expected = `one of ${file.sections.length} sections, with contents`;
    throw badHeader('ELF_BAD_SHSTRNDX', 'e_shstrndx', file.shstrndx, expected);
  }
  const names = new StringTable(sectionContents(table));
  for (const section of file.sections) section.name = names.at(section.nameOffset ?? 0);
}

/** The stretches of the file, as [start, end), that belong to no table and no section. */
function uncovered(file: ElfFile, source: ByteSource): [number, number][] {
  const covered: [number, number][] = [
    [0, Elf64_Ehdr.size],
    [file.phoff ?? 0, (file.phoff ?? 0) + file.segments.length * Elf64_Phdr.size],
    [file.shoff ?? 0, (file.shoff ?? 0) + file.sections.length * Elf64_Shdr.size],
  ];
  for (const { contents } of file.sections) {
    if (contents instanceof SourceSlice) covered.push([contents.offset, contents.offset + contents.size]);
  }

  const gaps: [number, number][] = [];
  let position = 0;
  // A table without entries may claim to be anywhere, and covers nothing.
  for (const [start, end] of covered.filter(([start, end]) => end > start).sort((a, b) => a[0] - b[0])) {
    if (start > position) gaps.push([position, start]);
    position = Math.max(position, end);
  }
  if (source.size > position) gaps.push([position, source.size]);
  return gaps;
}

const truncated = (what: string, offset: number, size: number, source: ByteSource): FormatError =>
  new FormatError(
    'ELF_TRUNCATED',
    `ELF: ${what} is ${hex(size)} bytes at ${hex(offset)}, expected to end within the file's ${hex(source.size)} bytes`,
    { offset, value: size },
  );
