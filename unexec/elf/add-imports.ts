/**
 * Lets a linked ELF program import more symbols: its tables of symbols, names, versions and hashes go into a
 * read-only PT_LOAD behind everything else, the dynamic section leads there, and the relocations for symbols
 * whose indices have changed are renumbered in their places. Why they change: formats/elf/import-symbols.ts.
 *
 * @module
 */
import {
  changeDynamic,
  DT,
  dynamicCapacity,
  dynamicStrings,
  type ElfDynamic,
  type ElfFile,
  type ElfSection,
  type ElfSegment,
  type EncodedTable,
  elfSource,
  encodeImportTables,
  encodeRela,
  type ImportedSymbols,
  importSymbols,
  layoutElf,
  type NewImport,
  newSection,
  PF,
  patchAddress,
  readDynamic,
  readDynamicRelocations,
  readElf,
  readImportTables,
  renumberSymbols,
  SHF,
  SHT,
  type WantedVersion,
  writeDynamic,
} from '../../formats/elf/index.ts';
import { endOfFile } from './address-space.ts';
import { moveDynamic } from './move-dynamic.ts';
import { moveSymbols } from './move-symbols.ts';
import { addLoadSegment, moveProgramHeaders } from './program-headers.ts';
import { describeSection, placeSectionTables } from './section-tables.ts';

export interface AddedImports {
  /** The program with them, which reads what it had from the source of the original. Nothing that it had has moved in memory, but for these tables. */
  readonly file: ElfFile;
  /** Index of each of the imports among its dynamic symbols. */
  readonly indices: Uint32Array;
}

/**
 * A program with more imports. Libraries that it has not needed so far are needed then.
 *
 * @param versions versions that are wanted without any symbol, such as GLIBC_ABI_DT_RELR of libc.so.6
 * @throws FormatError as `readImportTables` and `importSymbols`; UnexecError as `addLoadSegment`
 */
export function addImports(
  original: ElfFile,
  imports: readonly NewImport[],
  versions: readonly WantedVersion[] = [],
): AddedImports {
  const file: ElfFile = {
    ...original,
    segments: original.segments.map(segment => ({ ...segment })),
    sections: original.sections.map(section => ({ ...section })),
    kept: original.kept.map(part => ({ ...part })),
  };
  const imported = importSymbols(readImportTables(original), imports, versions);
  const { tables, values } = encodeImportTables(imported.tables);

  moveProgramHeaders(file);
  const addresses = placeTables(file, original, tables);
  renumber(file, original, imported);
  moveSymbols(
    file,
    original.sections.map(({ address }) => address),
  );
  const changed = changeDynamic(readDynamic(original), new Map([...addresses, ...values]));
  const entries = [...missingLibraries(original, imported), ...changed];
  if (entries.length <= dynamicCapacity(original)) writeDynamic(file, entries);
  else moveDynamic(file, entries);
  placeSectionTables(file);
  return { file: readElf(elfSource(layoutElf(file), endOfFile(file))), indices: imported.indices };
}

/** Puts the tables into a new segment, and says at which address each is, by its tag. */
function placeTables(file: ElfFile, original: ElfFile, tables: readonly EncodedTable[]): Map<number, bigint> {
  const places: number[] = [];
  let size = 0;
  for (const { align, contents } of tables) {
    const place = Math.ceil(size / align) * align;
    places.push(place);
    size = place + contents.length;
  }
  const segment = addLoadSegment(file, { flags: PF.PF_R, memorySize: size, fileSize: size });
  const entries = readDynamic(original);
  const addresses = new Map<number, bigint>();
  for (const [i, table] of tables.entries()) {
    const place = places[i] ?? 0;
    const address = segment.address + BigInt(place);
    const was = entries.find(({ tag }) => tag === table.tag)?.value;
    putContents(file, segment, place, table, was);
    addresses.set(table.tag, address);
  }
  return addresses;
}

/** The section that describes a table goes where the table goes; without one, the bytes alone. */
function putContents(
  file: ElfFile,
  segment: ElfSegment,
  place: number,
  table: EncodedTable,
  was?: bigint,
): void {
  const { type, info, align, contents } = table;
  const at = { address: segment.address + BigInt(place), offset: segment.offset + place };
  const present = file.sections.find(section => section.type === type && section.address === was);
  if (present) {
    Object.assign(present, { ...at, contents, info: info ?? present.info });
    return;
  }
  const symbols = file.sections.findIndex(section => section.type === SHT.SHT_DYNSYM);
  const name = NEW_SECTIONS.get(type);
  const section: ElfSection = newSection({
    name: name ?? '',
    type,
    flags: SHF.SHF_ALLOC,
    link: type === SHT.SHT_GNU_versym ? Math.max(0, symbols) : (file.sections[symbols]?.link ?? 0),
    info: info ?? 0,
    align,
    entsize: type === SHT.SHT_GNU_versym ? 2 : 0,
    contents,
    ...at,
  });
  if (name === undefined || describeSection(file, section) === undefined) {
    file.kept.push({ offset: at.offset, contents });
  }
}

/** Of tables that a program may not have had. */
const NEW_SECTIONS: ReadonlyMap<number, string> = new Map([
  [SHT.SHT_GNU_versym, '.gnu.version'],
  [SHT.SHT_GNU_verneed, '.gnu.version_r'],
]);

/** Relocations stay where they are, with the new indices of their symbols. */
function renumber(file: ElfFile, original: ElfFile, { inserted }: ImportedSymbols): void {
  const entries = readDynamic(original);
  const { rela, jmprel } = readDynamicRelocations(original);
  for (const [tag, table] of [
    [DT.DT_RELA, rela],
    [DT.DT_JMPREL, jmprel],
  ] as const) {
    const address = entries.find(entry => entry.tag === tag)?.value;
    if (address === undefined || table.length === 0) continue;
    patchAddress(file, address, encodeRela(renumberSymbols(table, inserted)));
  }
}

/** DT_NEEDED for libraries that the program does not have yet: ld.so asserts that it knows each of them. */
function missingLibraries(original: ElfFile, { libraries }: ImportedSymbols): ElfDynamic[] {
  const present = new Set(dynamicStrings(original, DT.DT_NEEDED));
  // The program's loader is there without being needed, and has a version of its own.
  return [...libraries]
    .filter(([library]) => !present.has(library) && !library.startsWith('ld-linux'))
    .map(([, offset]) => ({ tag: DT.DT_NEEDED, value: BigInt(offset) }));
}
