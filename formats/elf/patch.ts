/**
 * Changes bytes of a file in the model, wherever they are: in a section, or in what no section covers. The
 * rest of it is still read when it is needed.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { type ByteSource, checkRange } from '../source.ts';
import { PT } from './constants.ts';
import { type ElfFile, hasFileBytes } from './model.ts';

/**
 * Overwrites what a PT_LOAD has in the file for these addresses.
 *
 * @throws FormatError `ELF_NOT_IN_FILE` where no segment, and no section, has all of them
 */
export function patchAddress(file: ElfFile, address: bigint, bytes: Uint8Array): void {
  const load = file.segments.find(
    segment =>
      segment.type === PT.PT_LOAD &&
      address >= segment.address &&
      address + BigInt(bytes.length) <= segment.address + BigInt(segment.fileSize),
  );
  if (!load) {
    const what = `${bytes.length} bytes at address ${hex(address)} are not in the file`;
    throw new FormatError('ELF_NOT_IN_FILE', `ELF: ${what}, expected them within a PT_LOAD`, {
      value: address,
    });
  }
  patchOffset(file, load.offset + Number(address - load.address), bytes);
}

/**
 * Overwrites the bytes at an offset of the file, which may be those of several sections: relocations that the
 * linker left in many (`-z nocombreloc`) are one table to the loader.
 *
 * @throws FormatError `ELF_NOT_IN_FILE` where some are in no section, and in no kept bytes; nothing has changed then
 */
export function patchOffset(file: ElfFile, offset: number, bytes: Uint8Array): void {
  const end = offset + bytes.length;
  const parts = [...file.sections.filter(hasFileBytes), ...file.kept].flatMap(part => {
    const { contents, offset: start = 0 } = part;
    if (contents === undefined || part.offset === undefined) return [];
    const from = Math.max(start, offset);
    const to = Math.min(start + contentsSize(contents), end);
    return from < to ? [{ part, contents, start, from, to }] : [];
  });
  let covered = offset;
  for (const { from, to } of parts.toSorted((a, b) => a.from - b.from)) {
    if (from <= covered) covered = Math.max(covered, to);
  }
  if (covered < end) {
    const what = `${bytes.length} bytes at ${hex(offset)} are in no sections from ${hex(covered)} on`;
    throw new FormatError('ELF_NOT_IN_FILE', `ELF: ${what}, expected some that have them`, { offset });
  }
  // Sections may share bytes: all of them change.
  for (const { part, contents, start, from, to } of parts) {
    part.contents = patched(contents, from - start, bytes.subarray(from - offset, to - offset));
  }
}

/** Contents with some bytes replaced; they are copied when they are read. */
function patched(contents: Contents, at: number, bytes: Uint8Array): ByteSource {
  const size = contentsSize(contents);
  return {
    size,
    read(offset, length) {
      checkRange(size, offset, length);
      const copy = readContents(contents, offset, length).slice();
      const from = Math.max(at, offset);
      const to = Math.min(at + bytes.length, offset + length);
      if (from < to) copy.set(bytes.subarray(from - at, to - at), from - offset);
      return copy;
    },
  };
}
