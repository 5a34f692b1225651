/**
 * Where a file has contents: files of memory are often large and nearly empty. Facts: lseek(2) (SEEK_DATA,
 * SEEK_HOLE).
 *
 * @module
 */
import type { FileStretch } from '../image.ts';
import { ERRNO } from './errno.ts';
import { syscall } from './libc.ts';

const SEEK_SET = 0;
const SEEK_CUR = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Stretches between `from` and `to` that are no holes, all of it where the file system does not tell. */
export function fileStretches(fd: number, from: number, to: number): FileStretch[] {
  const stretches: FileStretch[] = [];
  // The position may be shared with the process that the file is of.
  const position = syscall('lseek', fd, 0, SEEK_CUR);
  try {
    for (let at = from; at < to; ) {
      const offset = syscall('lseek', fd, at, SEEK_DATA);
      if (offset === -ERRNO.ENXIO) break;
      const end = offset < 0 ? offset : syscall('lseek', fd, offset, SEEK_HOLE);
      if (end < 0) return [{ offset: from, size: to - from }];
      if (offset >= to) break;
      stretches.push({ offset, size: Math.min(end, to) - offset });
      at = end;
    }
  } finally {
    syscall('lseek', fd, position, SEEK_SET);
  }
  return stretches;
}
