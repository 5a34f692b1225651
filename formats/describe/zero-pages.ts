/**
 * Which pages of a file are zero. In an image that unexec wrote they are holes of the file, elided; in other files
 * they were stored.
 *
 * @module
 */
import type { ByteSource } from '../source.ts';

/** Lines of a page map, and what the kernel of x86-64 maps at once. */
export const PAGE_SIZE = 4096;

/** Read at once: long enough to be fast, short enough to go on with other work between. */
const CHUNK = 4 * 1024 * 1024;

/** How far it has come, in bytes; the bits so far are final. */
export interface ZeroPagesProgress {
  readonly done: number;
  readonly bits: Uint8Array;
}

/**
 * Looks at every page of the file, a chunk at a time. Bit `page % 8` of byte `page / 8` says that all bytes of the page
 * are zero; a last page may be shorter. `maxSize`: what is behind that is not looked at, and counts as not zero.
 */
export function* findZeroPages(
  source: ByteSource,
  maxSize = Number.POSITIVE_INFINITY,
): Generator<ZeroPagesProgress, Uint8Array> {
  const bits = new Uint8Array(Math.ceil(source.size / PAGE_SIZE / 8));
  const end = Math.min(source.size, maxSize);
  for (let offset = 0; offset < end; offset += CHUNK) {
    const chunk = source.read(offset, Math.min(CHUNK, end - offset));
    for (let at = 0; at < chunk.length; at += PAGE_SIZE) {
      if (!isZero(chunk, at, Math.min(at + PAGE_SIZE, chunk.length))) continue;
      const page = (offset + at) / PAGE_SIZE;
      bits[page >> 3] = (bits[page >> 3] ?? 0) | (1 << (page & 7));
    }
    yield { done: offset + chunk.length, bits };
  }
  return bits;
}

/** Whether a page is zero by the bits of `findZeroPages`. */
export const isZeroPage = (bits: Uint8Array, page: number): boolean =>
  ((bits[Math.floor(page / 8)] ?? 0) & (1 << (page & 7))) !== 0;

/** Four bytes at once where they are aligned: faster than BigUint64Array, and a page with contents mostly differs soon. */
function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  const from = bytes.byteOffset + start;
  let at = start;
  if ((from & 3) === 0) {
    const words = new Uint32Array(bytes.buffer, from, (end - start) >> 2);
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    at += words.length << 2;
  }
  for (; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
