/**
 * Initialisers that already ran: dyld calls every entry of a section of type S_MOD_INIT_FUNC_POINTERS (8-byte
 * pointers) and S_INIT_FUNC_OFFSETS (4-byte offsets from the header) before main. What they made is in
 * the image, so in the next life they must not run again. The one that must, the runtime's `start`, which
 * puts the zone back under malloc, stays: the section shrinks to its entry. Where there is none the
 * section becomes a regular one, which dyld does not look at. Facts: mach-o/loader.h, dyld-1378.
 *
 * @module
 */
import {
  contentsSize,
  findSegment,
  type MachOFile,
  type MachOSection,
  S,
  SECTION_TYPE,
  sectionContents,
  sectionSource,
  sectionsOf,
  segmentsOf,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { sectionType } from './territory.ts';

/** What a section of initialisers becomes. */
export interface SettledInitialisers {
  readonly section: MachOSection;
  readonly changed: MachOSection;
  /** Entries that no longer run. */
  readonly dropped: number;
  /** The entry that is left is that of the runtime. */
  readonly keepsStart: boolean;
  /** Addresses (of the file) of words that no longer are pointers which the loader must fix. */
  readonly unfixed: readonly bigint[];
}

/**
 * Settles every section of initialisers. `targetOf` is what the file's rebases say of a word: the address
 * that it points to.
 *
 * @param start address of the runtime's constructor; undefined where the program has no runtime
 * @throws FormatError `MACHO_BAD_SECTION` for one that is not within its segment
 */
export function settleInitialisers(
  file: MachOFile,
  start: bigint | undefined,
  targetOf: (address: bigint) => bigint | undefined,
): SettledInitialisers[] {
  return segmentsOf(file).flatMap(segment =>
    segment.sections.flatMap(section => {
      if (section.size === 0n) return [];
      if (sectionType(section) === S.S_MOD_INIT_FUNC_POINTERS) {
        return [settle(section, 8, pointerTargets(file, section, targetOf), start)];
      }
      if (sectionType(section) === S.S_INIT_FUNC_OFFSETS) {
        return [settle(section, 4, offsetTargets(file, section), start)];
      }
      return [];
    }),
  );
}

function settle(
  section: MachOSection,
  width: number,
  targets: readonly (bigint | undefined)[],
  start: bigint | undefined,
): SettledInitialisers {
  const index = start === undefined ? -1 : targets.indexOf(start);
  const changed =
    index < 0
      ? { ...section, flags: (section.flags & ~SECTION_TYPE) | S.S_REGULAR }
      : {
          ...section,
          addr: section.addr + BigInt(index * width),
          offset: section.offset + index * width,
          size: BigInt(width),
        };
  // A section that is a regular one now covers its words still, and they may stay pointers.
  const unfixed =
    index < 0 || width === 4
      ? []
      : targets.flatMap((_, i) => (i === index ? [] : [section.addr + BigInt(i * width)]));
  return { section, changed, dropped: targets.length - (index < 0 ? 0 : 1), keepsStart: index >= 0, unfixed };
}

/** Addresses of all pointers to initialisers. */
export function* initialiserSlots(file: MachOFile): Iterable<bigint> {
  for (const section of sectionsOf(file)) {
    if (sectionType(section) !== S.S_MOD_INIT_FUNC_POINTERS) continue;
    const { length } = pointerTargets(file, section, () => undefined);
    for (let i = 0; i < length; i++) yield section.addr + BigInt(i * 8);
  }
}

/** The size of a section is what its segment has bytes for: a hostile one is no 2^60 pointers. */
const pointerTargets = (
  file: MachOFile,
  section: MachOSection,
  targetOf: (address: bigint) => bigint | undefined,
): (bigint | undefined)[] =>
  Array.from({ length: Math.floor(contentsSize(sectionSource(file, section)) / 8) }, (_, i) =>
    targetOf(section.addr + BigInt(i * 8)),
  );

function offsetTargets(file: MachOFile, section: MachOSection): bigint[] {
  const header = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
  const view = viewOf(sectionContents(file, section));
  return Array.from(
    { length: Math.floor(view.byteLength / 4) },
    (_, i) => header + BigInt(view.getUint32(i * 4, true)),
  );
}
