/**
 * Chunks of contents on their way into a file: one is filled (process_vm_readv is synchronous) while
 * another is written in libuv's pool.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { PAGE, type PageRange } from './image.ts';

/** Bytes read and written at once; small enough to stay in the second-level cache. */
export const CHUNK = 1 << 20;

/** Writes chunks in the background, two at the most. */
export class ChunkWriter {
  readonly #file: FileHandle;
  readonly #free: Uint8Array[] = [new Uint8Array(CHUNK), new Uint8Array(CHUNK), new Uint8Array(CHUNK)];
  #waiting: (() => void) | undefined;
  #pending = 0;
  #error: unknown;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** A buffer to fill, once one is free. @throws the error of an earlier write */
  async buffer(): Promise<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const buffer = this.#free.pop();
      if (buffer !== undefined) return buffer;
      await this.#settled();
    }
  }

  write(chunk: Uint8Array, ranges: readonly PageRange[], offset: number): void {
    this.#pending++;
    void this.#writeRanges(chunk, ranges, offset)
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => {
        this.#pending--;
        this.#free.push(new Uint8Array(chunk.buffer, 0, CHUNK));
        this.#waiting?.();
        this.#waiting = undefined;
      });
  }

  async #writeRanges(chunk: Uint8Array, ranges: readonly PageRange[], offset: number): Promise<void> {
    for (const { first, count } of ranges) {
      await writeAll(this.#file, chunk.subarray(first * PAGE, (first + count) * PAGE), offset + first * PAGE);
    }
  }

  #settled(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting = resolve;
    });
  }

  async drain(): Promise<void> {
    while (this.#pending > 0) await this.#settled();
    if (this.#error !== undefined) throw this.#error;
  }
}

/** pwrite(2) until all is written. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
