/**
 * A file that a thin image leaves pages in, and by what it is known again: an ELF file by the build-id in it, which
 * stays the same wherever the file is copied to; any other by its size and the time of its last change.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { type ElfFile, elfNotes, NT_GNU, PT, readElf, readNotes } from '../formats/elf/index.ts';
import { FormatError } from '../formats/errors.ts';
import { FileSource } from './file-source.ts';
import { type FileTime, fileTime, nanosecondsOf } from './file-time.ts';
import { PAGE } from './image.ts';

export interface BackingFile {
  readonly path: string;
  /** It must have at least these bytes: beyond the end of a file its mapping has no memory. */
  readonly leastSize: number;
  readonly knownBy: BuildIdentity | TimeIdentity;
}

export interface BuildIdentity {
  readonly type: 'build-id';
  readonly id: Uint8Array;
  /** Where in the file it is. */
  readonly offset: number;
}

export interface TimeIdentity {
  readonly type: 'time';
  readonly size: number;
  readonly mtime: FileTime;
}

/** A stretch of a file, bytes. */
export interface FileStretch {
  readonly offset: number;
  readonly size: number;
}

/** What a file is known by, of which these stretches are mapped. @throws the error of open(2) */
export function identifyFile(path: string, stretches: readonly FileStretch[]): BackingFile {
  const size = sizeOf(path);
  const end = Math.max(0, ...stretches.map(({ offset, size }) => offset + size));
  const leastSize = Math.min(end, size);
  return { path, leastSize, knownBy: buildIdentity(path, stretches) ?? timeIdentity(path) };
}

/** What is wrong with a file that a thin image needs; undefined where it is as it was. */
export function differenceOf({ path, leastSize, knownBy }: BackingFile): string | undefined {
  try {
    // Before it is opened, which waits for the other end of a pipe.
    if (!statOf(path).isFile()) return 'is no regular file';
    if (sizeOf(path) < leastSize) return 'is shorter than it was';
    if (knownBy.type === 'build-id') {
      return Buffer.from(bytesAt(path, knownBy.offset, knownBy.id.length)).equals(knownBy.id)
        ? undefined
        : 'is not the file that it was: its build-id differs';
    }
    const { size, mtime } = timeIdentity(path);
    if (size !== knownBy.size) return 'is not the file that it was: its size differs';
    return nanosecondsOf(mtime) === nanosecondsOf(knownBy.mtime)
      ? undefined
      : 'is not the file that it was: its time of change differs';
  } catch (error) {
    return `cannot be read: ${error instanceof Error && 'code' in error ? String(error.code) : String(error)}`;
  }
}

/**
 * Undefined where the build-id does not stand for what is mapped: of bytes that no loader maps (a heap that a runtime
 * has behind its program), and of a file that unexec wrote, which has the build-id of the one that it was made of.
 */
function buildIdentity(path: string, stretches: readonly FileStretch[]): BuildIdentity | undefined {
  const source = new FileSource(path);
  try {
    const file = readElf(source);
    if (!stretches.every(stretch => isLoaded(file, stretch))) return undefined;
    if (elfNotes(file).some(({ owner }) => owner === 'unexec')) return undefined;
    for (const { type, offset, fileSize, align } of file.segments) {
      if (type !== PT.PT_NOTE) continue;
      const notes = readNotes(source.read(offset, fileSize), Number(align));
      const id = notes.find(note => note.owner === 'GNU' && note.type === NT_GNU.NT_GNU_BUILD_ID);
      if (id !== undefined && id.desc.length >= LEAST_ID) {
        return { type: 'build-id', id: id.desc.slice(), offset: offset + id.descOffset };
      }
    }
    return undefined;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  } finally {
    source.close();
  }
}

/** Shorter ones were given by hand, and say nothing. */
const LEAST_ID = 8;

const isLoaded = (file: ElfFile, stretch: FileStretch): boolean =>
  file.segments.some(({ type, offset, fileSize }) => {
    const start = offset - (offset % PAGE);
    const end = Math.ceil((offset + fileSize) / PAGE) * PAGE;
    return type === PT.PT_LOAD && start <= stretch.offset && stretch.offset + stretch.size <= end;
  });

function timeIdentity(path: string): TimeIdentity {
  const stat = statOf(path);
  return { type: 'time', size: Number(stat.size), mtime: fileTime(stat.mtimeNs) };
}

const sizeOf = (path: string): number => Number(statOf(path).size);

const statOf = (path: string) => statSync(path, { bigint: true });

function bytesAt(path: string, offset: number, length: number): Uint8Array {
  const source = new FileSource(path);
  try {
    return source.size < offset + length ? new Uint8Array() : source.read(offset, length);
  } finally {
    source.close();
  }
}
