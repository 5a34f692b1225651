/** Every ELF file of this system is written as it was read. */
import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { DT, SHT } from '../../../formats/elf/constants.ts';
import { dynamicStrings } from '../../../formats/elf/dynamic.ts';
import { readDynamicSymbols } from '../../../formats/elf/dynamic-symbols.ts';
import { layoutElf } from '../../../formats/elf/layout.ts';
import type { Contents, ElfFile } from '../../../formats/elf/model.ts';
import { contentsSize, readContents } from '../../../formats/elf/model.ts';
import { elfNotes } from '../../../formats/elf/notes.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { readSymbols } from '../../../formats/elf/symbols.ts';
import { readSymbolVersions } from '../../../formats/elf/versions.ts';
import { writeElf } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import type { ByteSource } from '../../../formats/source.ts';
import { withFile } from './support/files.ts';

/** Where distributions keep programs and libraries: through no link, each inode once. */
const ROOTS = ['/usr/bin', '/usr/lib'];

test('write(read(x)) is x for every ELF64 file of /usr/bin and /usr/lib, and the others are refused by name', t => {
  const counts = { files: 0, identical: 0, bytes: 0, sharingBytes: 0, unsupported: 0 };
  const start = performance.now();
  for (const path of regularFiles(ROOTS)) {
    counts.files++;
    withFile(path, source => {
      if (!isElf(source)) return;
      const file = tryRead(source);
      if (file === undefined) {
        counts.unsupported++;
        return;
      }
      const fault = firstDifference(file, source);
      if (fault !== undefined) t.fail(`${path}: ${fault}`);
      // Once more from the model alone: `file` could be right because everything stays in its source.
      const [alone, shares] = unlessShared(() => firstDifference(forgetSource(file), source));
      if (alone !== undefined) t.fail(`${path}: ${alone}, from the model alone`);
      counts.identical++;
      counts.bytes += source.size;
      if (shares) counts.sharingBytes++;
    });
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const megabytes = (counts.bytes / 1e6).toFixed();
  t.log(
    `${counts.identical} of ${counts.files} files are ELF64 and come out identical (${megabytes} MB, ${seconds} s)`,
  );
  t.log(
    `${counts.sharingBytes} of them have sections that share bytes; ${counts.unsupported} are ELF32 or big-endian`,
  );
  // A system has hundreds; fewer mean that the walk is broken.
  t.true(counts.identical > 200);
  t.true(counts.sharingBytes < counts.identical / 2);
});

test('symbols, versions, notes and the dynamic section of every ELF64 file of /usr/bin and /usr/lib can be read', t => {
  const counts = { symbols: 0, versions: 0, notes: 0, libraries: 0 };
  for (const path of regularFiles(ROOTS)) {
    withFile(path, source => {
      const file = isElf(source) ? tryRead(source) : undefined;
      if (!file) return;
      try {
        const dynamic = readDynamicSymbols(file);
        const versions = readSymbolVersions(file, dynamic.length);
        const tables = file.sections.filter(({ type }) => type === SHT.SHT_SYMTAB || type === SHT.SHT_DYNSYM);
        for (const table of tables) {
          const symbols = readSymbols(file, table);
          // What the loader finds without section headers is what they say.
          if (table.type === SHT.SHT_DYNSYM) t.is(dynamic.length, symbols.length, path);
          counts.symbols += symbols.length;
        }
        counts.versions += versions.filter(version => version !== undefined).length;
        counts.notes += elfNotes(file).length;
        counts.libraries += dynamicStrings(file, DT.DT_NEEDED).length;
      } catch (error) {
        t.fail(`${path}: ${error}`);
      }
    });
  }
  t.log(counts);
  t.true(counts.symbols > 10_000 && counts.versions > 1000 && counts.notes > 100 && counts.libraries > 100);
});

/** The model; undefined for ELF32 and big-endian, which must be refused as such. */
function tryRead(source: ByteSource): ElfFile | undefined {
  const ident = source.read(0, Math.min(6, source.size));
  const supported = ident[4] === 2 && ident[5] === 1;
  try {
    return readElf(source);
  } catch (error) {
    const code = ident[4] === 2 ? 'ELF_UNSUPPORTED_DATA' : 'ELF_UNSUPPORTED_CLASS';
    if (!supported && error instanceof FormatError && error.code === code) return undefined;
    throw error;
  }
}

/** Where the written file differs from its source; undefined where it does not. */
function firstDifference(file: ElfFile, source: ByteSource): string | undefined {
  const layout = layoutElf(file);
  if (layout.size !== source.size) return `${layout.size} bytes for ${source.size}`;
  let position = 0;
  for (const { offset, bytes } of writeElf(layout)) {
    if (offset !== position) return `nothing from ${position} to ${offset}`;
    if (Buffer.compare(bytes, source.read(offset, bytes.length)) !== 0)
      return `another byte from ${offset} on`;
    position += bytes.length;
  }
  return position === source.size ? undefined : `nothing from ${position} on`;
}

/** The same model, reading the same bytes, but not knowing any more that they are where they were. */
function forgetSource(file: ElfFile): ElfFile {
  const foreign = (contents: Contents): ByteSource => ({
    size: contentsSize(contents),
    read: (offset, length) => readContents(contents, offset, length),
  });
  return {
    ...file,
    source: undefined,
    sections: file.sections.map(section => ({
      ...section,
      contents: section.contents && foreign(section.contents),
    })),
    kept: file.kept.map(({ offset, contents }) => ({ offset, contents: foreign(contents) })),
  };
}

/** Guile's objects have a section that covers the headers: only a common source explains that. */
function unlessShared<T>(check: () => T): [T | undefined, boolean] {
  try {
    return [check(), false];
  } catch (error) {
    if (error instanceof FormatError && error.code === 'ELF_OVERLAP') return [undefined, true];
    throw error;
  }
}

const isElf = (source: ByteSource): boolean =>
  source.size >= 4 && Buffer.from(source.read(0, 4)).equals(Buffer.of(0x7f, 0x45, 0x4c, 0x46));

/** Every regular file under these directories, each inode once. */
function* regularFiles(roots: readonly string[]): Generator<string> {
  const seen = new Set<string>();
  const pending = [...roots];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    for (const entry of entriesOf(directory)) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) pending.push(path);
      if (!entry.isFile()) continue;
      const { dev, ino, nlink } = lstatSync(path);
      const inode = `${dev}:${ino}`;
      if (nlink > 1 && seen.has(inode)) continue;
      if (nlink > 1) seen.add(inode);
      yield path;
    }
  }
}

/** Nothing where the user of the test may not look. */
function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return [];
    throw error;
  }
}
