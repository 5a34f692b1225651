/**
 * The files that a thin image needs, in its manifest: written, and read back from one that may have anything there.
 *
 * @module
 */
import { FormatError } from '../formats/errors.ts';
import type { BackingFile } from './backing-file.ts';
import type { Left } from './file-pages.ts';
import { fileTime, nanosecondsOf } from './file-time.ts';
import type { Fields } from './inspect/fields.ts';

/** By what a file is known again: its build-id, or its size and the time of its last change. */
export interface ManifestFile {
  readonly path: string;
  /** At least these bytes. */
  readonly leastSize: number;
  /** Hexadecimal, and where in the file it is. */
  readonly buildId?: { readonly value: string; readonly offset: number };
  /** Bytes; nanoseconds since 1970, decimal, negative before. */
  readonly changed?: { readonly size: number; readonly nanoseconds: string };
}

/** Build-ids are hashes, of 20 bytes mostly. */
const MOST_ID = 64;

/** Each file once, in the order of the regions. */
export const manifestFiles = (left: Left): ManifestFile[] =>
  [...new Set([...left.values()].map(({ file }) => file))].map(({ path, leastSize, knownBy }) => {
    if (knownBy.type === 'build-id') {
      const { id, offset } = knownBy;
      return { path, leastSize, buildId: { value: Buffer.from(id).toString('hex'), offset } };
    }
    const { size, mtime } = knownBy;
    return {
      path,
      leastSize,
      changed: { size, nanoseconds: `${nanosecondsOf(mtime)}` },
    };
  });

/** The files of a manifest; none of one that has none. @throws FormatError `MANIFEST_MALFORMED` */
export function backingFiles(manifest: Fields): BackingFile[] {
  if (!manifest.has('files')) return [];
  return manifest.objects('files').map(file => {
    const path = file.text('path');
    const common = { path, leastSize: file.whole('leastSize') };
    if (file.has('buildId')) {
      const { value, offset } = {
        value: file.object('buildId').text('value'),
        offset: file.object('buildId').whole('offset'),
      };
      if (!/^([0-9a-f]{2})+$/.test(value) || value.length > 2 * MOST_ID)
        throw malformed(path, 'buildId', value);
      return { ...common, knownBy: { type: 'build-id', id: Buffer.from(value, 'hex'), offset } };
    }
    const changed = file.object('changed');
    const text = changed.text('nanoseconds');
    // Up to the year 5138, which a Date can hold.
    if (!/^-?\d{1,20}$/.test(text)) throw malformed(path, 'changed.nanoseconds', text);
    const mtime = fileTime(BigInt(text));
    return { ...common, knownBy: { type: 'time', size: changed.whole('size'), mtime } };
  });
}

const malformed = (path: string, field: string, value: string): FormatError =>
  new FormatError(
    'MANIFEST_MALFORMED',
    `manifest: ${field} of ${path} is ${JSON.stringify(value)}, expected digits`,
  );
