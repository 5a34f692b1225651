/**
 * Where everything goes that has no place in the file yet: the program headers after the ELF header,
 * then the sections in order, each in the first room after the one before, then the section headers.
 *
 * @module
 */
import { PT, SHT } from './constants.ts';
import { contentsSize, type ElfFile, type ElfSection, hasFileBytes, sectionSize } from './model.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr } from './structs.ts';

export interface Places {
  readonly phoff: number;
  readonly shoff: number;
  readonly sections: readonly number[];
}

/** A place for every table and every section; what has one keeps it. */
export function place(file: ElfFile, sections: readonly ElfSection[]): Places {
  const fixed: Extent[] = [{ offset: 0, size: Elf64_Ehdr.size }];
  const phdrs = { offset: file.phoff, size: file.segments.length * Elf64_Phdr.size };
  const shdrs = { offset: file.shoff, size: sections.length * Elf64_Shdr.size };
  for (const { offset, size } of [phdrs, shdrs]) if (offset !== undefined) fixed.push({ offset, size });
  for (const section of sections) {
    if (section.offset === undefined || !hasFileBytes(section)) continue;
    fixed.push({ offset: section.offset, size: sectionSize(section) });
  }
  for (const { offset, contents } of file.kept) fixed.push({ offset, size: contentsSize(contents) });

  const free = new FreeSpace(fixed);
  const table = (wanted: typeof phdrs) =>
    wanted.offset ?? (wanted.size === 0 ? 0 : free.take(wanted.size, 8, 0));
  const phoff = table(phdrs);
  const pageOf = loadAlignments(file);
  const offsets = sections.map((section, index) => {
    if (section.offset !== undefined) return section.offset;
    if (section.type === SHT.SHT_NULL) return 0;
    const size = hasFileBytes(section) ? sectionSize(section) : 0;
    const page = pageOf.get(index);
    if (page === undefined) return free.take(size, Math.max(section.align, 1), 0);
    // Loaded: offset and address are the same within a page, or mmap(2) cannot map the one to the other.
    const align = Math.max(section.align, page, 1);
    return free.take(size, align, Number(section.address % BigInt(align)));
  });
  return { phoff, sections: offsets, shoff: table(shdrs) };
}

/** p_align of the PT_LOAD that a section is listed in. */
function loadAlignments(file: ElfFile): Map<number, number> {
  const alignments = new Map<number, number>();
  for (const segment of file.segments) {
    if (segment.type !== PT.PT_LOAD) continue;
    for (const index of segment.sections ?? []) alignments.set(index, segment.align);
  }
  return alignments;
}

interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** The room between fixed extents, handed out from low to high. */
class FreeSpace {
  readonly #fixed: readonly Extent[];
  #next = 0;
  #position = 0;

  constructor(fixed: readonly Extent[]) {
    this.#fixed = fixed.filter(({ size }) => size > 0).sort((a, b) => a.offset - b.offset);
  }

  /**
   * The first offset after what was taken before that has room for `size` bytes and is `residue` modulo
   * `align`. Each fixed extent is passed once, however many are taken.
   */
  take(size: number, align: number, residue: number): number {
    let offset = aligned(this.#position, align, residue);
    if (size === 0) return offset;
    for (; ; this.#next++) {
      const blocking = this.#fixed[this.#next];
      if (!blocking || offset + size <= blocking.offset) break;
      offset = Math.max(offset, aligned(blocking.offset + blocking.size, align, residue));
    }
    this.#position = offset + size;
    return offset;
  }
}

/** The first number from `offset` on that is `residue` modulo `align`. */
const aligned = (offset: number, align: number, residue: number): number =>
  offset + ((((residue - offset) % align) + align) % align);
