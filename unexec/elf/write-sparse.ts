/**
 * Writes an ELF file with holes in place of pages of zeros, of which there are many: between segments that
 * linkers align to 2 MiB, and where the bss of the program would be.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { type ElfFile, layoutElf, writeElf } from '../../formats/elf/index.ts';
import { writeAll } from '../chunk-writer.ts';
import { nonZeroPages } from '../elide.ts';
import { PAGE } from '../image.ts';
import { endOfFile } from './address-space.ts';

/**
 * Lays the file out and writes it to an empty file, which then ends where its last segment does, at the least.
 *
 * @returns bytes of the file
 */
export async function writeSparse(file: ElfFile, handle: FileHandle): Promise<number> {
  const layout = layoutElf(file);
  for (const { offset, bytes } of writeElf(layout)) {
    // Holes are whole pages of the file.
    const head = Math.min(bytes.length, (PAGE - (offset % PAGE)) % PAGE);
    const pages = Math.floor((bytes.length - head) / PAGE);
    const tail = head + pages * PAGE;
    await writeAll(handle, bytes.subarray(0, head), offset);
    for (const { first, count } of nonZeroPages(bytes.subarray(head, tail))) {
      const at = head + first * PAGE;
      await writeAll(handle, bytes.subarray(at, at + count * PAGE), offset + at);
    }
    await writeAll(handle, bytes.subarray(tail), offset + tail);
  }
  const size = Math.max(layout.size, endOfFile(file));
  await handle.truncate(size);
  return size;
}
