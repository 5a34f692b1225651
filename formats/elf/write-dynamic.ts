/**
 * Changes the dynamic section: values of entries, and entries more or fewer as far as its place has room.
 * Linkers leave some (GNU ld five empty ones, lld none). gABI 4.1, "Dynamic Section".
 *
 * @module
 */
import { FormatError } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { PT } from './constants.ts';
import { badDynamic, type ElfDynamic } from './dynamic.ts';
import { findSegment } from './find.ts';
import type { ElfFile } from './model.ts';
import { patchOffset } from './patch.ts';
import { Elf64_Dyn, LE } from './structs.ts';

/**
 * The entries with some values changed: a tag that is not there yet is added at the end, and one whose value is
 * undefined goes away. A tag that is there several times (DT_NEEDED) cannot be changed like this.
 */
export function changeDynamic(
  entries: readonly ElfDynamic[],
  changes: ReadonlyMap<number, bigint | undefined>,
): ElfDynamic[] {
  const changed: ElfDynamic[] = [];
  for (const entry of entries) {
    const value = changes.has(entry.tag) ? changes.get(entry.tag) : entry.value;
    if (value !== undefined) changed.push({ tag: entry.tag, value });
  }
  for (const [tag, value] of changes) {
    if (value !== undefined && entries.every(entry => entry.tag !== tag)) changed.push({ tag, value });
  }
  return changed;
}

/** Contents of an SHT_DYNAMIC section: the entries, DT_NULL, and as many more DT_NULL as `size` has room for. */
export function encodeDynamic(
  entries: readonly ElfDynamic[],
  size = dynamicSize(entries.length),
): Uint8Array {
  if (size < dynamicSize(entries.length)) throw full(entries.length, size);
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  for (const [i, { tag, value }] of entries.entries()) {
    Elf64_Dyn.write(view, i * Elf64_Dyn.size, { d_tag: BigInt(tag), d_un: value }, LE);
  }
  return bytes;
}

/** Bytes that so many entries and DT_NULL take. */
export const dynamicSize = (count: number): number => (count + 1) * Elf64_Dyn.size;

/** How many entries the dynamic section has room for, DT_NULL apart; 0 without one. */
export const dynamicCapacity = (file: ElfFile): number =>
  Math.max(0, Math.floor((findSegment(file, PT.PT_DYNAMIC)?.fileSize ?? 0) / Elf64_Dyn.size) - 1);

/**
 * Writes the entries over those that the file has.
 *
 * @throws FormatError `ELF_DYNAMIC_FULL` for more than `dynamicCapacity`; `ELF_BAD_DYNAMIC` without a dynamic
 *   section; `ELF_NOT_IN_FILE`
 */
export function writeDynamic(file: ElfFile, entries: readonly ElfDynamic[]): void {
  const segment = findSegment(file, PT.PT_DYNAMIC);
  if (!segment) throw badDynamic('there is no PT_DYNAMIC, expected one to be written');
  patchOffset(file, segment.offset, encodeDynamic(entries, segment.fileSize));
}

const full = (count: number, size: number): FormatError =>
  new FormatError(
    'ELF_DYNAMIC_FULL',
    `ELF: ${count} dynamic entries take ${dynamicSize(count)} bytes with DT_NULL, expected at most ${size}`,
    { value: count },
  );
