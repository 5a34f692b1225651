/**
 * Rules about notes: each record ends where its bytes do. gABI 4.1, "Note Section"; Linux 6.1, fs/binfmt_elf.c,
 * parse_elf_properties(), and glibc 2.36, sysdeps/x86/dl-prop.h, for the properties of GNU.
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { NT_GNU, PT, SHT } from '../constants.ts';
import { sectionContents, segmentContents } from '../find.ts';
import type { ElfFile } from '../model.ts';
import { readNotes } from '../notes.ts';
import { LE } from '../structs.ts';
import { isDebugFile, nameOfSection, type Rule, sectionsOf, strict } from './rule.ts';

interface NotePart {
  readonly name: string;
  readonly offset: number;
  readonly align: number;
  readonly bytes: () => Uint8Array;
}

/** Segments with notes are what is loaded, sections with notes what tools read. */
function partsOf(file: ElfFile): NotePart[] {
  const parts: NotePart[] = [];
  let left = file.source?.size ?? 0;
  for (const [index, segment] of file.segments.entries()) {
    if (segment.type !== PT.PT_NOTE || isDebugFile(file)) continue;
    const { offset, align } = segment;
    left -= segment.fileSize;
    if (left < 0) break;
    parts.push({ name: `segment ${index}`, offset, align, bytes: () => segmentContents(file, segment) });
  }
  for (const { section, index } of sectionsOf(file, [SHT.SHT_NOTE])) {
    const { offset = 0, align } = section;
    parts.push({ name: nameOfSection(section, index), offset, align, bytes: () => sectionContents(section) });
  }
  return parts;
}

/** readNotes() says which record ends beyond its bytes. */
function records(file: ElfFile): Iterable<Finding> {
  for (const { bytes, align } of partsOf(file)) readNotes(bytes(), align);
  return [];
}

function* properties(file: ElfFile): Iterable<Finding> {
  for (const part of partsOf(file)) {
    for (const { owner, type, desc, descOffset } of readNotes(part.bytes(), part.align)) {
      if (owner !== 'GNU' || type !== NT_GNU.NT_GNU_PROPERTY_TYPE_0) continue;
      const fault = propertyFault(desc);
      if (fault === undefined) continue;
      yield strict('ELF_PROPERTY', `the GNU properties in ${part.name} ${fault}`, {
        offset: part.offset + descOffset,
      });
    }
  }
}

/** u32 pr_type, u32 pr_datasz, data padded to 8 bytes; types ascend. */
function propertyFault(desc: Uint8Array): string | undefined {
  const view = viewOf(desc);
  let last = -1;
  for (let at = 0; at < desc.length; ) {
    if (desc.length - at < 8) return `end with ${desc.length - at} bytes, expected whole properties`;
    const type = view.getUint32(at, LE);
    const size = view.getUint32(at + 4, LE);
    if (size > desc.length - at - 8)
      return `have pr_datasz ${hex(size)}, expected at most ${hex(desc.length - at - 8)}`;
    if (type <= last) return `have pr_type ${hex(type)} after ${hex(last)}, expected them to ascend`;
    last = type;
    at += 8 + Math.ceil(size / 8) * 8;
  }
  return undefined;
}

export const NOTE_RULES: readonly Rule[] = [records, properties];
