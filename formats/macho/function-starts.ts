/**
 * LC_FUNCTION_STARTS: where the functions of __TEXT begin, as LEB128 distances from one to the next, the first
 * from the mach header; a zero ends them. mach-o/loader.h of cctools-1035.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { OpcodeReader, OpcodeWriter } from './opcode-stream.ts';

/**
 * Bytes from the mach header to each function, ascending.
 *
 * @throws FormatError `LEB128_*`; `MACHO_BAD_FUNCTION_STARTS` beyond 2^53
 */
export function decodeFunctionStarts(blob: Uint8Array): Float64Array {
  const reader = new OpcodeReader('the function starts', 'MACHO_BAD_FUNCTION_STARTS', blob);
  // Each takes a byte at least.
  const starts = new Float64Array(blob.length);
  let count = 0;
  for (let offset = 0; !reader.atEnd; ) {
    const at = reader.at;
    const distance = reader.uleb();
    if (distance === 0) break;
    offset += distance;
    if (!Number.isSafeInteger(offset))
      throw reader.fault(at, `go to ${offset}, expected less than 2^53`, offset);
    starts[count++] = offset;
  }
  return starts.slice(0, count);
}

/**
 * The same as bytes, padded to 8.
 *
 * @throws FormatError `MACHO_BAD_FUNCTION_STARTS` for offsets that do not ascend from above 0
 */
export function encodeFunctionStarts(starts: ArrayLike<number>): Uint8Array {
  const writer = new OpcodeWriter();
  let before = 0;
  for (let i = 0; i < starts.length; i++) {
    const start = starts[i] ?? 0;
    if (!(start > before)) {
      const message = `Mach-O: a function starts at ${hex(start)}, expected more than ${hex(before)}`;
      throw new FormatError('MACHO_BAD_FUNCTION_STARTS', message, { value: start });
    }
    writer.uleb(start - before);
    before = start;
  }
  if (writer.size > 0) writer.byte(0);
  return writer.finish(8);
}
