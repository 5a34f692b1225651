/**
 * Rules about the dynamic section: ld.so follows its addresses without looking. glibc 2.36, elf/get-dynamic-
 * info.h (its assertions end the process) and elf/dl-load.c; gABI 4.1, "Dynamic Section".
 *
 * @module
 */
import { hex, toNumber } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import { DT, PT, SHT } from '../constants.ts';
import { dynamicStringTable, type ElfDynamic, readDynamic } from '../dynamic.ts';
import { atAddress, findSegment, segmentContents } from '../find.ts';
import { type ElfFile, sectionSize } from '../model.ts';
import { error, nameOfSection, type Rule, strict } from './rule.ts';

/** gABI: the array ends with DT_NULL; get-dynamic-info.h goes on until it finds one. */
function* terminated(file: ElfFile): Iterable<Finding> {
  const segment = findSegment(file, PT.PT_DYNAMIC);
  if (segment === undefined) return;
  const bytes = segmentContents(file, segment);
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    if (bytes.subarray(at, at + 8).every(byte => byte === 0)) return;
  }
  yield error(
    'ELF_DYNAMIC_NULL',
    `PT_DYNAMIC has no DT_NULL in its ${hex(bytes.length)} bytes, expected one`,
    {
      offset: segment.offset,
    },
  );
}

/** Tags with which others have to come. A loader that finds one alone reads through a null pointer. */
const COMPANIONS: readonly (readonly [number, readonly number[]])[] = [
  [DT.DT_SYMTAB, [DT.DT_STRTAB, DT.DT_STRSZ, DT.DT_SYMENT]],
  [DT.DT_STRTAB, [DT.DT_STRSZ]],
  [DT.DT_RELA, [DT.DT_RELASZ, DT.DT_RELAENT]],
  [DT.DT_REL, [DT.DT_RELSZ, DT.DT_RELENT]],
  [DT.DT_RELR, [DT.DT_RELRSZ, DT.DT_RELRENT]],
  [DT.DT_JMPREL, [DT.DT_PLTRELSZ, DT.DT_PLTREL]],
  [DT.DT_INIT_ARRAY, [DT.DT_INIT_ARRAYSZ]],
  [DT.DT_FINI_ARRAY, [DT.DT_FINI_ARRAYSZ]],
  [DT.DT_PREINIT_ARRAY, [DT.DT_PREINIT_ARRAYSZ]],
  [DT.DT_VERSYM, [DT.DT_SYMTAB]],
  [DT.DT_NEEDED, [DT.DT_STRTAB]],
];

function* companions(file: ElfFile): Iterable<Finding> {
  const has = tagsOf(file);
  for (const [tag, needed] of COMPANIONS) {
    if (!has.has(tag)) continue;
    for (const other of needed) {
      if (has.has(other)) continue;
      yield error(
        'ELF_DYNAMIC_MISSING',
        `there is a ${nameOf(DT, tag)} without ${nameOf(DT, other)}, expected both`,
      );
    }
  }
}

/** get-dynamic-info.h: assert (info[DT_RELAENT]->d_un.d_val == sizeof (ElfW(Rela))), and so on. */
const VALUES: readonly (readonly [tag: number, value: bigint])[] = [
  [DT.DT_RELAENT, 24n],
  [DT.DT_RELENT, 16n],
  [DT.DT_RELRENT, 8n],
  [DT.DT_SYMENT, 24n],
  [DT.DT_PLTREL, BigInt(DT.DT_RELA)],
];

function* values(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file);
  for (const [tag, expected] of VALUES) {
    for (const { value } of entries.filter(entry => entry.tag === tag)) {
      if (value === expected) continue;
      yield error('ELF_DYNAMIC_VALUE', `${nameOf(DT, tag)} is ${value}, expected ${expected}`);
    }
  }
}

/** gABI: only DT_NEEDED may be there several times (and filters, of Solaris). ld.so takes the last. */
function* once(file: ElfFile): Iterable<Finding> {
  const counts = new Map<number, number>();
  for (const { tag } of readDynamic(file)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  for (const [tag, count] of counts) {
    if (count === 1 || tag === DT.DT_NEEDED || tag === DT.DT_FILTER || tag === DT.DT_AUXILIARY) continue;
    yield strict('ELF_DYNAMIC_TWICE', `${nameOf(DT, tag)} is there ${count} times, expected once`);
  }
}

/** Tables with the tag of their size; undefined: at least so many bytes. */
const TABLES: readonly (readonly [tag: number, size: number | undefined, least: number])[] = [
  [DT.DT_STRTAB, DT.DT_STRSZ, 1],
  [DT.DT_SYMTAB, undefined, 24],
  [DT.DT_HASH, undefined, 8],
  [DT.DT_GNU_HASH, undefined, 16],
  [DT.DT_RELA, DT.DT_RELASZ, 0],
  [DT.DT_REL, DT.DT_RELSZ, 0],
  [DT.DT_RELR, DT.DT_RELRSZ, 0],
  [DT.DT_JMPREL, DT.DT_PLTRELSZ, 0],
  [DT.DT_INIT_ARRAY, DT.DT_INIT_ARRAYSZ, 0],
  [DT.DT_FINI_ARRAY, DT.DT_FINI_ARRAYSZ, 0],
  [DT.DT_PREINIT_ARRAY, DT.DT_PREINIT_ARRAYSZ, 0],
  [DT.DT_VERSYM, undefined, 2],
  [DT.DT_VERDEF, undefined, 20],
  [DT.DT_VERNEED, undefined, 16],
];

/** Each table lies in memory that a PT_LOAD fills from the file. */
function* tables(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file);
  for (const [tag, sizeTag, least] of TABLES) {
    const address = entries.find(entry => entry.tag === tag)?.value;
    if (address === undefined) continue;
    const size = sizeOf(entries, sizeTag) ?? least;
    if (size === 0) continue;
    const room = atAddress(file, address)?.size ?? 0;
    if (room >= size) continue;
    yield error(
      'ELF_DYNAMIC_ADDRESS',
      `${nameOf(DT, tag)} is ${hex(address)} with ${hex(size)} bytes, expected them within the bytes of a PT_LOAD`,
      { address },
    );
  }
}

function sizeOf(entries: readonly ElfDynamic[], tag: number | undefined): number | undefined {
  const value = tag === undefined ? undefined : entries.find(entry => entry.tag === tag)?.value;
  return value === undefined ? undefined : toNumber(`ELF: ${nameOf(DT, tag ?? 0)}`, value);
}

/** dl-load.c takes names from the string table without a check. */
function* strings(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file).filter(({ tag }) => NAMES.has(tag));
  if (entries.length === 0 || !tagsOf(file).has(DT.DT_STRTAB)) return;
  const table = dynamicStringTable(file, readDynamic(file));
  for (const { tag, value } of entries) {
    const name = value < 2n ** 32n ? table.find(Number(value)) : undefined;
    if (name !== undefined && name !== '') continue;
    yield error(
      'ELF_DYNAMIC_STRING',
      `${nameOf(DT, tag)} is string ${hex(value)}, expected one of DT_STRTAB`,
    );
  }
}

const NAMES: ReadonlySet<number> = new Set([DT.DT_NEEDED, DT.DT_SONAME]);

/** Sections that describe what the dynamic section leads to. */
const SECTION_TAGS: readonly (readonly [type: number, tag: number])[] = [
  [SHT.SHT_DYNSYM, DT.DT_SYMTAB],
  [SHT.SHT_HASH, DT.DT_HASH],
  [SHT.SHT_GNU_HASH, DT.DT_GNU_HASH],
  [SHT.SHT_GNU_versym, DT.DT_VERSYM],
  [SHT.SHT_GNU_verdef, DT.DT_VERDEF],
  [SHT.SHT_GNU_verneed, DT.DT_VERNEED],
  [SHT.SHT_INIT_ARRAY, DT.DT_INIT_ARRAY],
  [SHT.SHT_FINI_ARRAY, DT.DT_FINI_ARRAY],
];

/** elflint: what tools find by section is what ld.so finds by tag. */
function* sections(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file);
  if (entries.length === 0) return;
  for (const [type, tag] of SECTION_TAGS) {
    const value = entries.find(entry => entry.tag === tag)?.value;
    const index = file.sections.findIndex(section => section.type === type && sectionSize(section) > 0);
    const section = file.sections[index];
    if (value === undefined || section === undefined || section.address === value) continue;
    yield strict(
      'ELF_DYNAMIC_SECTION',
      `${nameOf(DT, tag)} is ${hex(value)}, expected ${hex(section.address)} where ${nameOfSection(section, index)} is`,
      { address: value },
    );
  }
}

export const DYNAMIC_RULES: readonly Rule[] = [
  terminated,
  companions,
  values,
  once,
  tables,
  strings,
  sections,
];

const tagsOf = (file: ElfFile): ReadonlySet<number> => new Set(readDynamic(file).map(({ tag }) => tag));
