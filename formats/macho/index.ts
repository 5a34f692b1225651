/**
 * 64-bit Mach-O, little-endian, for x86-64 and arm64 macOS: `readMachO` gives a model, `layoutMachO` computes
 * what the model leaves open, `writeMachO` gives the bytes; `readFat` and `writeFat` are for files of several
 * architectures. Uint8Array and DataView only, no Node API.
 *
 * ```ts
 * const file = readMachO(source);          // headers now, contents when they are asked for
 * insertSegment(file, '__LINKEDIT', newSegment({ segname: '__DATA_HEAP', … }));
 * relayLinkedit(file, fileoff);            // __LINKEDIT moves, its parts in canonical order
 * const layout = layoutMachO(file);        // every field final
 * for (const { offset, bytes } of writeMachO(layout)) writeSync(fd, bytes, 0, bytes.length, offset);
 * ```
 *
 * @module
 */
export {
  type Contents,
  contentsSize,
  type KeptBytes,
  readContents,
  sliceContents,
  wholeContents,
} from '../contents.ts';
export { FormatError } from '../errors.ts';
export type { Finding, Severity } from '../finding.ts';
export { type ConstantTable, flagNames, nameOf } from '../names.ts';
export type { LayoutPart } from '../parts.ts';
export type { Piece } from '../pieces.ts';
export { type ByteSource, bytesSource, SourceSlice } from '../source.ts';
export * from './ad-hoc-signature.ts';
export * from './bind-opcodes.ts';
export * from './chained-fixups.ts';
export * from './chained-imports.ts';
export * from './chained-pointers.ts';
export * from './code-signature.ts';
export * from './commands.ts';
export * from './constants.ts';
export * from './core.ts';
export * from './core-notes.ts';
export * from './core-threads.ts';
export * from './data-in-code.ts';
export * from './exports-trie.ts';
export * from './fat.ts';
export * from './find.ts';
export * from './fixups.ts';
export * from './function-starts.ts';
export { isFat, isMachO, pageSizeOf } from './header.ts';
export { headerRoom } from './header-room.ts';
export * from './image.ts';
export { layoutMachO, type MachOLayout } from './layout.ts';
export { blobSize, findBlob, removeBlob, setBlob } from './linkedit.ts';
export * from './model.ts';
export * from './notes.ts';
export { type BlobPlace, relayLinkedit } from './place.ts';
export { readMachO } from './read.ts';
export * from './rebase-opcodes.ts';
export * from './structs.ts';
export * from './symbols.ts';
export { verifyFat } from './verify/fat.ts';
export { verifyMachO } from './verify/index.ts';
export { machoBytes, writeMachO } from './write.ts';
