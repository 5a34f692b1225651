/**
 * The ELF executable around an image: headers and restorer at its start, the contents in the middle,
 * the restorer's data, notes, symbols and sections after them. The regions are sections with addresses
 * rather than program headers: the kernel limits the number of those and maps them at fixed addresses
 * that would collide with a new stack; readelf, gdb and perf find everything all the same.
 *
 * @module
 */

import { basename } from 'node:path';
import {
  addSection,
  ELFOSABI,
  Elf64_Sym,
  type ElfFile,
  EM,
  ET,
  encodeNotes,
  newElf,
  newSection,
  newSegment,
  PF,
  PT,
  SHF,
  SHT,
} from '../../../formats/elf/index.ts';
import type { Left } from '../../file-pages.ts';
import { endOf, PAGE, type ProcessImage, type Region } from '../../image.ts';
import { CODE_OFFSET, RESTORERS } from '../../restorer/machine-code.ts';
import type { StoredSpan } from './contents.ts';
import { nameOfRegion } from './mappings.ts';
import { joinSymbols } from './symbol-table.ts';
import type { Window } from './window.ts';

/** Where contents begin in the file: after the page with headers and code. */
export const CONTENTS_OFFSET = PAGE;
/** ASLR moves the break of a new process up by less than this (arch_randomize_brk, Linux 6.9). */
const BRK_RANDOM = 1n << 30n;
const LOWEST_ADDRESS = 0x1_0000n;

export type SymbolChoice = 'all' | 'program' | 'none';

export interface ExecutableParts {
  readonly image: ProcessImage;
  readonly window: Window;
  readonly spans: readonly StoredSpan[];
  /** Regions of which pages are left in their files. */
  readonly left: Left;
  /** The contents of spans are not where these say, but in a section of their own. */
  readonly compressed: boolean;
  /** The restorer's data window. */
  readonly data: Uint8Array;
  /** Offset of the data in the file, after all contents; aligned as the restorer wants it. */
  readonly dataOffset: number;
  readonly notes: readonly { readonly type: number; readonly desc: Uint8Array }[];
  readonly symbols: SymbolChoice;
  /** Contents that belong to no region, page-aligned in the file. */
  readonly extras: readonly { readonly name: string; readonly offset: number; readonly size: number }[];
}

/** The model of the executable; contents of regions are external (already in the file). */
export function buildExecutable(parts: ExecutableParts): ElfFile {
  const { image, window, data, dataOffset } = parts;
  const { code, alignment } = RESTORERS[image.arch];
  const codeStart = window.code + BigInt(CODE_OFFSET);
  const file = newElf({
    type: ET.ET_EXEC,
    machine: image.arch === 'x86_64' ? EM.EM_X86_64 : EM.EM_AARCH64,
    osabi: ELFOSABI.ELFOSABI_GNU, // what the symbols of libc want: some are STT_GNU_IFUNC
    entry: codeStart,
  });

  const notes = addSection(
    file,
    newSection({
      name: '.note.unexec',
      type: SHT.SHT_NOTE,
      align: 4,
      contents: encodeNotes(
        parts.notes.map(note => ({ owner: 'unexec', ...note })),
        4,
      ),
    }),
  );
  addSection(
    file,
    newSection({
      name: '.unexec.code',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_EXECINSTR,
      address: codeStart,
      offset: CODE_OFFSET,
      align: 16,
      contents: code,
    }),
  );
  addSection(
    file,
    newSection({
      name: '.unexec.data',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_WRITE,
      address: window.data,
      offset: dataOffset,
      align: PAGE,
      contents: data,
    }),
  );
  addRegionSections(file, parts);
  for (const { name, offset, size } of parts.extras) {
    if (size > 0) addSection(file, newSection({ name, type: SHT.SHT_PROGBITS, offset, size, align: PAGE }));
  }
  if (parts.symbols !== 'none') addSymbols(file, parts);

  const codeSize = CODE_OFFSET + code.length;
  file.segments = [
    newSegment({
      type: PT.PT_LOAD,
      flags: PF.PF_R | PF.PF_X,
      offset: 0,
      address: window.code,
      fileSize: codeSize,
      memorySize: codeSize,
      align: alignment,
    }),
    newSegment({
      type: PT.PT_LOAD,
      flags: PF.PF_R | PF.PF_W,
      offset: dataOffset,
      address: window.data,
      fileSize: data.length,
      memorySize: data.length,
      align: alignment,
    }),
    ...breakSegment(parts),
    newSegment({ type: PT.PT_NOTE, flags: PF.PF_R, align: 4, sections: [notes] }),
    newSegment({ type: PT.PT_GNU_STACK, flags: PF.PF_R | PF.PF_W, align: 16 }),
  ];
  return file;
}

/**
 * A page without contents whose end is the break that the kernel gives the new process, so that brk(2)
 * can reach the old one even where PR_SET_MM_MAP is refused. Below the window it would not count: the
 * break follows the highest segment.
 */
function breakSegment({ image, window }: ExecutableParts) {
  const { startBrk } = image.layout;
  const wanted = startBrk > BRK_RANDOM + LOWEST_ADDRESS ? startBrk - BRK_RANDOM : LOWEST_ADDRESS;
  const page = RESTORERS[image.arch].alignment;
  const end = wanted & ~BigInt(page - 1);
  const address = end - BigInt(page);
  if (address < window.end || startBrk === 0n) return [];
  return [
    newSegment({
      type: PT.PT_LOAD,
      flags: PF.PF_R | PF.PF_W,
      offset: 0,
      address,
      fileSize: 0,
      memorySize: page,
      align: page,
    }),
  ];
}

/** One section for each stored stretch, and one without contents for what lies between. */
function addRegionSections(file: ElfFile, { image, spans, left, compressed }: ExecutableParts): void {
  const spansOf = new Map<Region, StoredSpan[]>();
  for (const span of spans) {
    const list = spansOf.get(span.region);
    if (list === undefined) spansOf.set(span.region, [span]);
    else list.push(span);
  }
  for (const region of image.regions) {
    if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall') continue;
    let at = region.start;
    const gap = (end: bigint): void => {
      if (end <= at) return;
      const where = left.has(region) ? IN_FILE : '';
      addSection(file, regionSection(region, where, SHT.SHT_NOBITS, at, Number(end - at), CONTENTS_OFFSET));
    };
    for (const span of spansOf.get(region) ?? []) {
      gap(span.address);
      const contents = compressed
        ? regionSection(region, IN_BLOCKS, SHT.SHT_NOBITS, span.address, span.size, CONTENTS_OFFSET)
        : regionSection(region, '', SHT.SHT_PROGBITS, span.address, span.size, span.fileOffset);
      addSection(file, contents);
      at = endOf({ start: span.address, size: span.size });
    }
    gap(endOf(region));
  }
}

function regionSection(
  region: Region,
  where: string,
  type: number,
  address: bigint,
  size: number,
  offset: number,
) {
  return newSection({
    name: sectionName(region, where),
    type,
    flags: SHF.SHF_ALLOC | (region.write ? SHF.SHF_WRITE : 0) | (region.execute ? SHF.SHF_EXECINSTR : 0),
    address,
    offset,
    size,
    align: PAGE,
  });
}

/**
 * In the name of a section without bytes: its memory is not zero, but in another file, or in compressed blocks.
 * formats/describe knows them. (SHF_COMPRESSED is for sections that are in no memory.)
 */
const IN_FILE = '(file)';
const IN_BLOCKS = '(lz4)';

/** `libc.so.6.r-x`, `heap.rw-`, `anonymous.rw-`, `libc.so.6(file).r-x`. */
function sectionName(region: Region, where: string): string {
  const base = basename(nameOfRegion(region)).replaceAll(/[[\]]/g, '');
  const permissions = `${region.read ? 'r' : '-'}${region.write ? 'w' : '-'}${region.execute ? 'x' : '-'}`;
  return `${base}${where}.${permissions}`;
}

/** Symbols of the modules at the addresses of the process. */
function addSymbols(file: ElfFile, { image, symbols }: ExecutableParts): void {
  const sections = file.sections
    .map((section, index) => ({ index, start: section.address, end: section.address + BigInt(section.size) }))
    .filter(({ start, end }) => end > start && start !== 0n)
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  const modules = symbols === 'program' ? image.modules.slice(0, 1) : image.modules;
  const joined = joinSymbols(modules, address => sectionAt(sections, address));
  const strings = addSection(
    file,
    newSection({ name: '.strtab', type: SHT.SHT_STRTAB, contents: joined.strtab }),
  );
  const table = addSection(
    file,
    newSection({
      name: '.symtab',
      type: SHT.SHT_SYMTAB,
      link: strings,
      info: joined.firstGlobal,
      align: 8,
      entsize: Elf64_Sym.size,
      contents: joined.symtab,
    }),
  );
  if (joined.shndx === undefined) return;
  addSection(
    file,
    newSection({
      name: '.symtab_shndx',
      type: SHT.SHT_SYMTAB_SHNDX,
      link: table,
      align: 4,
      entsize: 4,
      contents: joined.shndx,
    }),
  );
}

interface Extent {
  readonly index: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** Binary search: programs have hundreds of thousands of symbols and a thousand sections. */
function sectionAt(sections: readonly Extent[], address: bigint): number | undefined {
  let low = 0;
  let high = sections.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const section = sections[middle];
    if (section === undefined) return undefined;
    if (address < section.start) high = middle - 1;
    else if (address >= section.end) low = middle + 1;
    else return section.index;
  }
  return undefined;
}
