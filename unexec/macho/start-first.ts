/**
 * The runtime's constructor goes before all others: what they allocate is then the zone's, wherever the linker
 * was given the runtime. dyld calls the entries of a section of type S_MOD_INIT_FUNC_POINTERS or
 * S_INIT_FUNC_OFFSETS in their order (dyld-1378, `Loader::runInitializersBottomUp`; mach-o/loader.h).
 *
 * @module
 */
import { wholeContents } from '../../formats/contents.ts';
import {
  contentsSize,
  type FileFixups,
  type MachOFile,
  type MachOSection,
  readContents,
  readFixups,
  S,
  SECTION_TYPE,
  type SegmentCommand,
  sectionSource,
  segmentsOf,
} from '../../formats/macho/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { unexec_reserve } from '../zones/reserve.ts';
import type { Reserve } from './reserve.ts';

/** Bits of a chained pointer that lead to the next one: they belong to the place, not to the pointer. */
const NEXT = 0xfffn << 51n;

/**
 * Changes the contents of the segment that holds the constructors.
 *
 * @returns how many were before it and now are behind
 * @throws FormatError `MACHO_BAD_SECTION` for a section of them that is not within its segment
 */
export function putStartFirst(file: MachOFile, reserve: Reserve): number {
  const fixups = readFixups(file);
  const start = startOf(reserve, fixups);
  for (const segment of segmentsOf(file)) {
    for (const section of segment.sections) {
      const moved = move(file, segment, section, fixups, start);
      if (moved > 0) return moved;
    }
  }
  return 0;
}

/** What the word says that leads to the constructor, and its address. */
function startOf(reserve: Reserve, { style, rebases }: FileFixups): { word: bigint; address: bigint } {
  const { segment, offset, address } = reserve;
  const at = offset + unexec_reserve.offsets.start;
  const word = viewOf(readContents(segment.contents ?? new Uint8Array(), at, 8)).getBigUint64(0, true);
  const slot = address + BigInt(unexec_reserve.offsets.start);
  if (style !== 'chained') return { word, address: word };
  for (const rebase of rebases) if (rebase.address === slot) return { word, address: rebase.target };
  return { word, address: 0n };
}

function move(
  file: MachOFile,
  segment: SegmentCommand,
  section: MachOSection,
  { style, binds }: FileFixups,
  start: { word: bigint; address: bigint },
): number {
  const type = section.flags & SECTION_TYPE;
  const width = type === S.S_MOD_INIT_FUNC_POINTERS ? 8 : 4;
  if ((width === 4 && type !== S.S_INIT_FUNC_OFFSETS) || section.size === 0n) return 0;
  const count = Math.floor(contentsSize(sectionSource(file, section)) / width);
  const end = section.addr + section.size;
  // Opcodes name the place that they bind, so these do not move along.
  const isBound =
    style !== 'chained' && binds.some(bind => bind.address >= section.addr && bind.address < end);
  if (isBound) return 0;

  const contents = wholeContents(segment.contents ?? new Uint8Array()).slice();
  const view = viewOf(contents);
  const first = section.offset - segment.fileoff;
  const places = Array.from({ length: count }, (_, i) => first + i * width);
  const next = style === 'chained' && width === 8 ? NEXT : 0n;
  const read = (at: number): bigint =>
    width === 8 ? view.getBigUint64(at, true) & ~next : BigInt(view.getUint32(at, true));
  const header = segmentsOf(file).find(({ segname }) => segname === '__TEXT')?.vmaddr ?? 0n;
  const wanted = width === 8 ? start.word & ~next : start.address - header;

  const entries = places.map(read);
  const index = entries.indexOf(wanted);
  if (index <= 0) return 0;
  const ordered = [wanted, ...entries.filter((_, i) => i !== index)];
  for (const [i, at] of places.entries()) {
    const entry = ordered[i] ?? 0n;
    if (width === 8) view.setBigUint64(at, entry | (view.getBigUint64(at, true) & next), true);
    else view.setUint32(at, Number(entry), true);
  }
  segment.contents = contents;
  return index;
}
