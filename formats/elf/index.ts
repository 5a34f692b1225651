/**
 * ELF64, little-endian, for x86-64 and AArch64 Linux: `readElf` gives a model, `layoutElf` computes what
 * the model leaves open, `writeElf` gives the bytes. Uint8Array and DataView only, no Node API.
 *
 * ```ts
 * const file = readElf(source);            // headers now, contents when they are asked for
 * addSection(file, newSection({ name: '.note.x', type: SHT.SHT_NOTE, align: 4, contents }));
 * const layout = layoutElf(file);          // every field final
 * for (const { offset, bytes } of writeElf(layout)) writeSync(fd, bytes, 0, bytes.length, offset);
 * ```
 *
 * @module
 */
export { FormatError } from '../errors.ts';
export type { Finding, Severity } from '../finding.ts';
export { type ConstantTable, flagNames, nameOf } from '../names.ts';
export type { LayoutPart } from '../parts.ts';
export { type ByteSource, bytesSource, SourceSlice } from '../source.ts';
export * from './constants.ts';
export * from './core.ts';
export * from './core-notes.ts';
export { dynamicStrings, type ElfDynamic, readDynamic } from './dynamic.ts';
export { type DynamicRelocations, readDynamicRelocations } from './dynamic-relocations.ts';
export { readDynamicSymbols } from './dynamic-symbols.ts';
export * from './find.ts';
export type { Insertion } from './grow-hash-tables.ts';
export * from './import-symbols.ts';
export * from './import-tables.ts';
export { kindOfElf } from './kind.ts';
export { type ElfLayout, layoutElf } from './layout.ts';
export * from './model.ts';
export { type ElfNote, elfNotes, encodeNotes, type FoundNote, readBuildId, readNotes } from './notes.ts';
export { patchAddress, patchOffset } from './patch.ts';
export { readElf } from './read.ts';
export * from './relocations.ts';
export { decodeRelr, encodeRelr } from './relr.ts';
export { StringTable, StringTableBuilder } from './strings.ts';
export * from './structs.ts';
export {
  decodeSymbols,
  type ElfSymbol,
  type EncodedSymbols,
  encodeSymbols,
  newSymbol,
  readSymbols,
} from './symbols.ts';
export { isDebugFile, isProgram, type VerifyElfOptions, verifyElf } from './verify/index.ts';
export {
  type NeededVersion,
  readSymbolVersions,
  readVersionNeeds,
  type SymbolVersion,
  type VersionNeed,
} from './versions.ts';
export { elfBytes, elfSource, type Piece, piecesToBytes, writeElf } from './write.ts';
export { changeDynamic, dynamicCapacity, dynamicSize, encodeDynamic, writeDynamic } from './write-dynamic.ts';
