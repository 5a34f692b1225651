/**
 * What a file is made of, for ELF and Mach-O alike: `describeFile` says of every byte what it is, and of every stretch
 * of memory. Uint8Array and DataView only, no Node API.
 *
 * ```ts
 * const file = describeFile(source);
 * for (const { name, offset, size } of file.parts) …  // every byte once, ascending
 * const [image] = file.images;                        // a fat file has several
 * image?.symbolAt(0x401136n)                          // { symbol: { name: 'main', … }, into: 4 }
 * ```
 *
 * @module
 */
export { FormatError } from '../errors.ts';
export { type ByteSource, bytesSource } from '../source.ts';
export { describeFile } from './describe-file.ts';
export * from './model.ts';
export { findZeroPages, isZeroPage, PAGE_SIZE, type ZeroPagesProgress } from './zero-pages.ts';
