/**
 * A file as a `ByteSource`: what is asked for is read, so a large program need not be in memory.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type ByteSource, FormatError } from '../formats/elf/index.ts';
import { UnexecError } from './errors.ts';

/** A file that is open for reading until `close`. */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #fd: number;

  /** @throws the error of open(2), with its `code` */
  constructor(path: string) {
    this.#fd = openSync(path, 'r');
    this.size = fstatSync(this.#fd).size;
  }

  read(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || length > this.size - offset) {
      throw new FormatError(
        'TRUNCATED',
        `file: ${length} bytes at ${offset}, expected to end within ${this.size}`,
        {
          offset,
        },
      );
    }
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.#fd, bytes, done, length - done, offset + done);
      if (read === 0) break; // truncated meanwhile: the rest reads as zero
      done += read;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/**
 * Opens a regular file; a directory or a pipe is none.
 *
 * @throws UnexecError `FILE_UNREADABLE`
 */
export function openRegularFile(path: string): FileSource {
  const unreadable = (why: string, cause?: unknown): UnexecError =>
    new UnexecError('FILE_UNREADABLE', `${path} cannot be read: ${why}`, { path, cause });
  try {
    // Before it is opened, which waits for the other end of a pipe.
    if (statSync(path).isFile()) return new FileSource(path);
  } catch (cause) {
    throw unreadable(cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause), cause);
  }
  throw unreadable('it is no regular file');
}
