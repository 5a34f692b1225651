/**
 * A file that the user chose, as a `ByteSource`: read in a worker, where that may be done at once, and in blocks,
 * because headers are read in hundreds of pieces.
 *
 * @module
 */
import type { ByteSource } from '../../../formats/describe/index.ts';
import { checkRange } from '../../../formats/source.ts';

/** Of workers; TypeScript has it in a library that cannot be used together with the page's. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

const BLOCK = 256 * 1024;

export class BlobSource implements ByteSource {
  readonly size: number;
  readonly #file: Blob;
  readonly #reader = new FileReaderSync();
  #block = new Uint8Array(0);
  #blockStart = 0;

  constructor(file: Blob) {
    this.#file = file;
    this.size = file.size;
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(this.size, offset, length);
    if (length > BLOCK / 2) return this.#readNow(offset, length);
    const into = offset - this.#blockStart;
    if (into < 0 || into + length > this.#block.length) {
      this.#block = this.#readNow(offset, Math.min(BLOCK, this.size - offset));
      this.#blockStart = offset;
    }
    const at = offset - this.#blockStart;
    return this.#block.subarray(at, at + length);
  }

  #readNow(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#reader.readAsArrayBuffer(this.#file.slice(offset, offset + length)));
  }
}
