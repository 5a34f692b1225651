/**
 * Names of 16 bytes: segments, sections, the owners of notes. As Latin-1, so that whatever the bytes are,
 * they can be written again; `char[16]` of `mach-o/loader.h`.
 *
 * @module
 */
import { FormatError } from '../errors.ts';

const SIZE = 16;

/** The name without the NULs at its end. */
export const decodeName = (bytes: Uint8Array): string => {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  return String.fromCharCode(...bytes.subarray(0, length));
};

/**
 * The name filled with NULs; one of sixteen characters has none.
 *
 * @throws FormatError `MACHO_BAD_NAME` for a name that is too long or has characters beyond Latin-1
 */
export function encodeName(name: string): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (i >= SIZE || code > 0xff) {
      const message = `Mach-O: the name ${JSON.stringify(name)} does not fit into ${SIZE} bytes`;
      throw new FormatError('MACHO_BAD_NAME', message, { value: name });
    }
    bytes[i] = code;
  }
  return bytes;
}
