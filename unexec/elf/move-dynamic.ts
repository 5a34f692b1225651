/**
 * Room for more entries in the dynamic section of an ELF program. GNU ld leaves some (--spare-dynamic-tags), lld
 * none: then the section moves into a writable PT_LOAD of its own, for loaders write addresses into it (glibc
 * 2.36, elf/get-dynamic-info.h). They find it through PT_DYNAMIC.
 *
 * @module
 */
import {
  dynamicCapacity,
  dynamicSize,
  type ElfDynamic,
  type ElfFile,
  encodeDynamic,
  findSegment,
  PF,
  PT,
  readDynamic,
  SHT,
  segmentContents,
} from '../../formats/elf/index.ts';
import { moveSymbols } from './move-symbols.ts';
import { addLoadSegment } from './program-headers.ts';

/** A table of relocations that is new takes three entries. GNU ld leaves four or five. */
const NEEDED = 3;
/** With more for libraries. */
const SPARE = 8;

/**
 * Sees to it that a program, as it was read, has room for what a dump may add. A static program stays as it is: its
 * start code finds its dynamic section by itself.
 */
export function makeDynamicRoom(file: ElfFile): void {
  const entries = readDynamic(file);
  const isDynamic = entries.length > 0 && findSegment(file, PT.PT_INTERP) !== undefined;
  if (isDynamic && dynamicCapacity(file) < entries.length + NEEDED) moveDynamic(file, entries);
}

/**
 * Moves the dynamic section of a program, as it was read, behind all segments; the program headers have moved
 * already. Its old bytes stay, for code that knows `_DYNAMIC`.
 */
export function moveDynamic(file: ElfFile, entries: readonly ElfDynamic[]): void {
  const dynamic = findSegment(file, PT.PT_DYNAMIC);
  if (dynamic === undefined) return;
  const size = dynamicSize(entries.length + SPARE);
  const contents = encodeDynamic(entries, size);
  const old = { offset: dynamic.offset, contents: segmentContents(file, dynamic) };
  const segment = addLoadSegment(file, { flags: PF.PF_R | PF.PF_W, memorySize: size, fileSize: size });
  const { address, offset, physicalAddress } = segment;
  Object.assign(dynamic, { address, offset, physicalAddress, fileSize: size, memorySize: size });
  const section = file.sections.find(({ type }) => type === SHT.SHT_DYNAMIC);
  if (section === undefined) {
    file.kept.push({ offset, contents });
    return;
  }
  const addresses = file.sections.map(({ address }) => address);
  Object.assign(section, { address, offset, contents });
  file.kept.push(old);
  moveSymbols(file, addresses);
}
