/**
 * Reads an ELF64 little-endian file into the model. Headers and section names are read now, contents
 * when they are asked for, so that a core of many gigabytes costs a few pages. What is not understood
 * is kept: `writeElf(layoutElf(readElf(x)))` is `x`. gABI 4.1, "ELF Header", "Sections", "Program Header".
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../errors.ts';
import { type ByteSource, bytesSource, SourceSlice } from '../source.ts';
import { viewOf } from '../struct.ts';
import { EI, ELFCLASS, ELFDATA, EV, PN_XNUM, SHN, SHT } from './constants.ts';
import { type ElfFile, type ElfHeader, type ElfSection, type ElfSegment, hasFileBytes } from './model.ts';
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
  const shdrs = readTable(source, Elf64_Shdr, 'section header', ehdr.e_shoff, countSections(source, ehdr));
  const phdrs = readTable(source, Elf64_Phdr, 'program header', ehdr.e_phoff, countSegments(ehdr, shdrs[0]));

  const file: ElfFile = {
    header: headerOf(ehdr),
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

function readHeader(source: ByteSource): Elf64_Ehdr {
  const magic = source.read(0, Math.min(source.size, EI.EI_PAD));
  if (magic[0] !== 0x7f || magic[1] !== 0x45 || magic[2] !== 0x4c || magic[3] !== 0x46) {
    const found = [...magic.subarray(0, 4)].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
    throw new FormatError(
      'ELF_BAD_MAGIC',
      `ELF: the file begins with ${found || 'nothing'}, expected 7f 45 4c 46`,
      {
        offset: 0,
        value: found,
      },
    );
  }
  // The class first: a small ELF32 file is ELF32, not a truncated ELF64.
  const at = (index: number): number => magic[index] ?? 0;
  expect(
    'ELF_UNSUPPORTED_CLASS',
    'EI_CLASS',
    at(EI.EI_CLASS),
    EI.EI_CLASS,
    ELFCLASS.ELFCLASS64,
    'ELFCLASS64',
  );
  expect('ELF_UNSUPPORTED_DATA', 'EI_DATA', at(EI.EI_DATA), EI.EI_DATA, ELFDATA.ELFDATA2LSB, 'ELFDATA2LSB');
  expect('ELF_BAD_VERSION', 'EI_VERSION', at(EI.EI_VERSION), EI.EI_VERSION, EV.EV_CURRENT);
  if (source.size < Elf64_Ehdr.size) throw truncated('the ELF header', 0, Elf64_Ehdr.size, source);

  const ehdr = Elf64_Ehdr.read(viewOf(source.read(0, Elf64_Ehdr.size)), 0, LE);
  const { offsets } = Elf64_Ehdr;
  expect('ELF_BAD_VERSION', 'e_version', ehdr.e_version, offsets.e_version, EV.EV_CURRENT);
  if (ehdr.e_phnum !== 0) {
    expect('ELF_BAD_PHENTSIZE', 'e_phentsize', ehdr.e_phentsize, offsets.e_phentsize, Elf64_Phdr.size);
    if (ehdr.e_phoff === 0n) throw unset('ELF_BAD_PHOFF', 'e_phoff', offsets.e_phoff);
  }
  if (ehdr.e_shoff !== 0n) {
    expect('ELF_BAD_SHENTSIZE', 'e_shentsize', ehdr.e_shentsize, offsets.e_shentsize, Elf64_Shdr.size);
  } else if (ehdr.e_shnum !== 0) {
    throw unset('ELF_BAD_SHOFF', 'e_shoff', offsets.e_shoff);
  }
  return ehdr;
}

/** Section 0 holds the counts that are too large for the header. */
function countSections(source: ByteSource, ehdr: Elf64_Ehdr): number {
  const { e_shnum, e_shoff } = ehdr;
  if (e_shnum >= SHN.SHN_LORESERVE) {
    const offset = Elf64_Ehdr.offsets.e_shnum;
    throw new FormatError(
      'ELF_BAD_SHNUM',
      `ELF: e_shnum is ${hex(e_shnum)} at ${hex(offset)}, expected below SHN_LORESERVE`,
      {
        offset,
        value: e_shnum,
      },
    );
  }
  if (e_shnum !== 0 || e_shoff === 0n) return e_shnum;
  const [zero] = readTable(source, Elf64_Shdr, 'section header', e_shoff, 1);
  return toNumber('ELF: sh_size of section 0', zero?.sh_size ?? 0n);
}

function countSegments(ehdr: Elf64_Ehdr, zero: Elf64_Shdr | undefined): number {
  if (ehdr.e_phnum !== PN_XNUM) return ehdr.e_phnum;
  if (zero && zero.sh_info !== 0) return zero.sh_info;
  throw new FormatError(
    'ELF_BAD_PHNUM',
    `ELF: e_phnum is PN_XNUM at ${hex(Elf64_Ehdr.offsets.e_phnum)}, expected the number in sh_info of section 0`,
    { offset: Elf64_Ehdr.offsets.e_phnum, value: ehdr.e_phnum },
  );
}

function indexOfNames(ehdr: Elf64_Ehdr, zero: Elf64_Shdr | undefined): number {
  if (ehdr.e_shstrndx !== SHN.SHN_XINDEX || !zero) return ehdr.e_shstrndx;
  if (zero.sh_link !== 0) return zero.sh_link;
  throw new FormatError(
    'ELF_BAD_SHSTRNDX',
    `ELF: e_shstrndx is SHN_XINDEX at ${hex(Elf64_Ehdr.offsets.e_shstrndx)}, expected the index in sh_link of section 0`,
    { offset: Elf64_Ehdr.offsets.e_shstrndx, value: ehdr.e_shstrndx },
  );
}

interface Readable<T> {
  readonly size: number;
  read(view: DataView, at: number, le: boolean): T;
}

/** A table of `count` structs, after checking that the file has them: a count alone reserves nothing. */
function readTable<T>(source: ByteSource, of: Readable<T>, what: string, offset: bigint, count: number): T[] {
  if (count === 0) return [];
  const at = toNumber(`ELF: offset of the ${what} table`, offset);
  if (at > source.size || count > (source.size - at) / of.size) {
    throw truncated(`the ${what} table of ${count} entries`, at, count * of.size, source);
  }
  const view = viewOf(source.read(at, count * of.size));
  return Array.from({ length: count }, (_, i) => of.read(view, i * of.size, LE));
}

const headerOf = (ehdr: Elf64_Ehdr): ElfHeader => ({
  type: ehdr.e_type,
  machine: ehdr.e_machine,
  entry: ehdr.e_entry,
  flags: ehdr.e_flags,
  osabi: ehdr.e_ident[EI.EI_OSABI] ?? 0,
  abiVersion: ehdr.e_ident[EI.EI_ABIVERSION] ?? 0,
  asRead: ehdr,
});

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
    throw new FormatError(
      'ELF_BAD_SECTION_ZERO',
      `ELF: sh_type of section 0 is ${hex(section.type)}, expected SHT_NULL`,
      {
        value: section.type,
      },
    );
  }
  if (hasFileBytes(section)) {
    const offset = section.offset ?? 0;
    if (offset > source.size || section.size > source.size - offset) {
      throw truncated(`section ${index}`, offset, section.size, source);
    }
    section.contents = new SourceSlice(source, offset, section.size);
  }
  return section;
}

function readNames(file: ElfFile): void {
  if (file.sections.length === 0 || file.shstrndx === undefined || file.shstrndx === SHN.SHN_UNDEF) return;
  const table = file.sections[file.shstrndx];
  if (!(table?.contents instanceof SourceSlice)) {
    throw new FormatError(
      'ELF_BAD_SHSTRNDX',
      `ELF: e_shstrndx is ${file.shstrndx}, expected one of ${file.sections.length} sections, with contents`,
      { offset: Elf64_Ehdr.offsets.e_shstrndx, value: file.shstrndx },
    );
  }
  const names = new StringTable(table.contents.read(0, table.contents.size));
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
  covered.sort((a, b) => a[0] - b[0]);

  const gaps: [number, number][] = [];
  let position = 0;
  for (const [start, end] of [...covered, [source.size, source.size] as const]) {
    if (start > position) gaps.push([position, start]);
    position = Math.max(position, end);
  }
  return gaps;
}

/** Throws unless the header field has the one value that we support. */
function expect(
  code: string,
  field: string,
  value: number,
  offset: number,
  expected: number,
  name?: string,
): void {
  if (value === expected) return;
  const wanted = name === undefined ? `${expected}` : `${expected} (${name})`;
  throw new FormatError(code, `ELF: ${field} is ${value} at ${hex(offset)}, expected ${wanted}`, {
    offset,
    value,
  });
}

const unset = (code: string, field: string, offset: number): FormatError =>
  new FormatError(code, `ELF: ${field} is 0 at ${hex(offset)}, expected the offset of a table with entries`, {
    offset,
    value: 0,
  });

const truncated = (what: string, offset: number, size: number, source: ByteSource): FormatError =>
  new FormatError(
    'ELF_TRUNCATED',
    `ELF: ${what} is ${hex(size)} bytes at ${hex(offset)}, expected to end within the file's ${hex(source.size)} bytes`,
    { offset, value: size },
  );
