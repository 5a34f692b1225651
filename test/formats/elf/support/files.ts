/**
 * Files for tests: what a real one becomes when something is taken away, and sources that are files.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type Contents, contentsSize, type ElfFile, readContents } from '../../../../formats/elf/model.ts';
import type { ByteSource } from '../../../../formats/source.ts';

/** The same file with its section header table forgotten, as sstrip leaves it. */
export function withoutSections(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy.fill(0, 0x28, 0x30);
  copy.fill(0, 0x3c, 0x40);
  return copy;
}

/** Runs `use` with the file as a source, which is valid until `use` returns. */
export function withFile<T>(path: string, use: (source: ByteSource) => T): T {
  const fd = openSync(path, 'r');
  try {
    const read = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const count = readSync(fd, bytes, done, length - done, offset + done);
        if (count === 0) throw new Error(`${path} ends before ${offset + length}`);
        done += count;
      }
      return bytes;
    };
    return use({ size: fstatSync(fd).size, read });
  } finally {
    closeSync(fd);
  }
}

/** The model without its source: its contents as bytes of its own, so that only the model says where they go. */
export function detached(file: ElfFile): ElfFile {
  const own = (contents: Contents): Contents => readContents(contents, 0, contentsSize(contents)).slice();
  return {
    ...file,
    source: undefined,
    sections: file.sections.map(section => ({
      ...section,
      contents: section.contents && own(section.contents),
    })),
    kept: file.kept.map(({ offset, contents }) => ({ offset, contents: own(contents) })),
  };
}
