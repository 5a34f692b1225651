/**
 * What is left of a pointer when a smaller number is stored over its lower bytes, as unions do: equal lower bytes in
 * both runs, and above them what an address of the same place begins with in each. Whether the program ever looks at
 * them cannot be known, so they are cleared only on request.
 *
 * @module
 */

/** Something that addresses can lead to, in two runs. */
export interface PairedPlace {
  readonly start1: bigint;
  readonly start2: bigint;
  readonly size: number;
}

/**
 * How many lower bytes of a word are the number; undefined where the rest is not what a pointer has left.
 *
 * @param places the image, and what lies outside of it
 */
export function bytesBeforeRemains(
  value1: bigint,
  value2: bigint,
  places: readonly PairedPlace[],
): number | undefined {
  let bytes = 0;
  while (bytes < 8 && byteOf(value1, bytes) === byteOf(value2, bytes)) bytes++;
  if (bytes === 0 || bytes === 8) return undefined;
  const shift = BigInt(8 * bytes);
  const begins = (value: bigint, start: bigint, size: number): boolean =>
    value >> shift >= start >> shift && value >> shift <= (start + BigInt(size)) >> shift;
  const found = places.some(
    ({ start1, start2, size }) => begins(value1, start1, size) && begins(value2, start2, size),
  );
  return found ? bytes : undefined;
}

const byteOf = (value: bigint, i: number): bigint => (value >> BigInt(8 * i)) & 0xffn;
