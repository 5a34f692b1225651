/**
 * Sizes as people write them.
 *
 * @module
 */
import { InvalidArgumentError } from 'commander';

const UNITS: readonly string[] = ['', 'K', 'M', 'G', 'T'];

/**
 * Bytes of `256M`, `1G`, `512KiB`, `0x10000` or `65536`; units are binary.
 *
 * @throws InvalidArgumentError
 */
export function parseSize(text: string): number {
  const size = /^0x[0-9a-f]+$/i.test(text) ? Number(text) : scaled(text);
  if (Number.isSafeInteger(size) && size > 0) return size;
  throw new InvalidArgumentError(`'${text}' is no size; write 256M, 1G, 0x10000 or a number of bytes.`);
}

function scaled(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)(?:([KMGT])(?:iB)?)?$/i.exec(text) ?? [];
  return digits === '' ? Number.NaN : Number(digits) * 1024 ** UNITS.indexOf(unit.toUpperCase());
}
