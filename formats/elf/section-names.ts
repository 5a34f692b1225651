/**
 * Gives every section its sh_name: the offset that it was read with as long as its name is there, else
 * that of a new string, for which the table of names (`.shstrtab`) grows or comes into being.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { PN_XNUM, SHN, SHT } from './constants.ts';
import { contentsSize, type ElfFile, type ElfSection, newSection, readContents } from './model.ts';
import { StringTable, StringTableBuilder } from './strings.ts';

export interface NamedSections {
  readonly sections: readonly ElfSection[];
  /** sh_name of each. */
  readonly nameOffsets: readonly number[];
  readonly shstrndx: number;
}

/** The sections as they will be written, with `.shstrtab` where it had to be added. */
export function nameSections(file: ElfFile): NamedSections {
  const sections = [...file.sections];
  if (sections[0] && sections[0].type !== SHT.SHT_NULL) {
    const value = sections[0].type;
    const message = `ELF: sh_type of section 0 is ${hex(value)}, expected SHT_NULL`;
    throw new FormatError('ELF_BAD_SECTION_ZERO', message, { value });
  }
  if (file.shstrndx === undefined) {
    // A null section alone says nothing, unless the number of segments has to go into it.
    if (sections.length <= 1 && file.segments.length < PN_XNUM) sections.length = 0;
    if (sections.length <= 1) return { sections, nameOffsets: [0], shstrndx: SHN.SHN_UNDEF };
    sections.push(newSection({ name: '.shstrtab', type: SHT.SHT_STRTAB }));
  }
  const shstrndx = file.shstrndx ?? sections.length - 1;
  const table = sections[shstrndx];
  if (sections.length === 0 || shstrndx === SHN.SHN_UNDEF || !table) {
    const named = sections.find(section => section.name !== '');
    if (!named) return { sections, nameOffsets: sections.map(section => section.nameOffset ?? 0), shstrndx };
    throw new FormatError(
      'ELF_BAD_SHSTRNDX',
      `ELF: section ${JSON.stringify(named.name)} has a name but shstrndx is ${shstrndx}, expected a section, or undefined to add one`,
      { value: shstrndx },
    );
  }

  const before = table.contents
    ? readContents(table.contents, 0, contentsSize(table.contents))
    : new Uint8Array(0);
  const names = new StringTable(before);
  let builder: StringTableBuilder | undefined;
  const nameOffsets = sections.map(({ name, nameOffset }) => {
    if (nameOffset !== undefined && names.find(nameOffset) === name) return nameOffset;
    builder ??= new StringTableBuilder(before);
    return builder.add(name);
  });
  const after = builder?.bytes();
  if (after && after.length !== before.length) {
    // It no longer fits where it was read from; a caller's own place for an empty one stays.
    const offset = table.contents ? undefined : table.offset;
    sections[shstrndx] = { ...table, contents: after, offset };
  }
  return { sections, nameOffsets, shstrndx };
}
