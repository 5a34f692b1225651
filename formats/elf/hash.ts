/**
 * The two hash functions of symbol names. gABI 4.1, "Hashing Function"; dl_new_hash() of glibc 2.36,
 * elf/dl-lookup.c.
 *
 * @module
 */
const encoder = new TextEncoder();

/** Of DT_HASH, and of versions. */
export function elfHash(name: string): number {
  let hash = 0;
  for (const byte of encoder.encode(name)) {
    hash = ((hash << 4) + byte) >>> 0;
    const high = hash & 0xf000_0000;
    hash = (hash ^ (high >>> 24)) & ~high;
  }
  return hash >>> 0;
}

/** Of DT_GNU_HASH. */
export function gnuHash(name: string): number {
  let hash = 5381;
  for (const byte of encoder.encode(name)) hash = (Math.imul(hash, 33) + byte) >>> 0;
  return hash;
}
