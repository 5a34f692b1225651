/**
 * Where the section headers and their names go in a file that got more of them: to the end, where they are in
 * the way of nothing. Nothing loads them.
 *
 * @module
 */
import {
  addSection,
  type ElfFile,
  type ElfSection,
  SHN,
  StringTableBuilder,
  sectionContents,
} from '../../formats/elf/index.ts';
import { endOfFile } from './address-space.ts';

/** Appends a section, unless the file has been stripped of all its section headers. Says at which index. */
export const describeSection = (file: ElfFile, section: ElfSection): number | undefined =>
  namesOf(file) === undefined ? undefined : addSection(file, section);

/** Places the section headers and their names behind all else in the file. */
export function placeSectionTables(file: ElfFile): void {
  const names = namesOf(file);
  if (names === undefined) return;
  const builder = new StringTableBuilder(sectionContents(names));
  for (const section of file.sections) {
    section.nameOffset ??= builder.add(section.name);
  }
  // Neither of them counts for the end of the file: they go there.
  names.contents = builder.bytes();
  names.offset = undefined;
  file.shoff = undefined;
  names.offset = endOfFile(file);
  file.shoff = Math.ceil(endOfFile(file) / 8) * 8;
}

/** The section with the names; undefined where the file has none. */
function namesOf({ sections, shstrndx }: ElfFile): ElfSection | undefined {
  return sections.length > 1 && shstrndx !== undefined && shstrndx !== SHN.SHN_UNDEF
    ? sections[shstrndx]
    : undefined;
}
