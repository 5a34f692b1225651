/**
 * LC_DATA_IN_CODE: stretches of __TEXT that are data, jump tables for instance. mach-o/loader.h of cctools-1035,
 * `struct data_in_code_entry`.
 *
 * @module
 */
import { FormatError } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { data_in_code_entry, LE } from './structs.ts';

/**
 * The entries of a table: `offset` counts from the mach header, `length` is in bytes, `kind` is DICE_KIND_*.
 *
 * @throws FormatError `MACHO_BAD_DATA_IN_CODE` for bytes after the last whole entry
 */
export function decodeDataInCode(blob: Uint8Array): data_in_code_entry[] {
  if (blob.length % data_in_code_entry.size !== 0) {
    throw new FormatError(
      'MACHO_BAD_DATA_IN_CODE',
      `Mach-O: the table of data in code has ${blob.length} bytes, expected a multiple of ${data_in_code_entry.size}`,
      { value: blob.length },
    );
  }
  const view = viewOf(blob);
  const count = blob.length / data_in_code_entry.size;
  return Array.from({ length: count }, (_, i) =>
    data_in_code_entry.read(view, i * data_in_code_entry.size, LE),
  );
}

/** The same as bytes. */
export function encodeDataInCode(entries: readonly data_in_code_entry[]): Uint8Array {
  const blob = new Uint8Array(entries.length * data_in_code_entry.size);
  const view = viewOf(blob);
  for (const [i, entry] of entries.entries()) {
    data_in_code_entry.write(view, i * data_in_code_entry.size, entry, LE);
  }
  return blob;
}
