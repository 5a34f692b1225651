/**
 * All words of a file that the loader changes, whichever way the file says so: opcodes (LC_DYLD_INFO) or chains
 * (LC_DYLD_CHAINED_FIXUPS). Older files with relocations alone, and static ones, have none here.
 *
 * @module
 */
import { type Contents, contentsSize, readContents, wholeContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { type BindKind, decodeBinds } from './bind-opcodes.ts';
import { type ReadChainedFixups, readChainedFixups, type SegmentStarts } from './chained-fixups.ts';
import { readChains, targetAddress } from './chained-pointers.ts';
import { BIND_SYMBOL_FLAGS, LC } from './constants.ts';
import { findCommands, findSegment, segmentsOf } from './find.ts';
import { findBlob } from './linkedit.ts';
import type { LinkeditKind, MachOFile, SegmentCommand } from './model.ts';
import { POINTER_SIZE } from './opcode-stream.ts';
import { decodeRebases } from './rebase-opcodes.ts';
import { LE } from './structs.ts';

export type FixupStyle = 'dyld-info' | 'chained' | 'none';

export interface FileFixups {
  readonly style: FixupStyle;
  /** DYLD_CHAINED_PTR_*; undefined in other styles, and where no segment has chains. */
  readonly pointerFormat: number | undefined;
  readonly rebases: RebaseTable;
  /** In the order of the file: binds, then weak ones, then lazy ones; or in the order of the chains. */
  readonly binds: readonly FileBind[];
}

/** A word with a pointer into the image. */
export interface FileRebase {
  readonly address: bigint;
  /** Where it points to without a slide; with opcodes the whole word, top byte included. */
  readonly target: bigint;
  /** The top byte of a chained pointer, 0 with opcodes. */
  readonly high8: number;
}

/** A word that gets the address of a symbol. */
export interface FileBind {
  readonly address: bigint;
  readonly symbol: string;
  /** From 1, or BIND_SPECIAL_DYLIB_*: ..._WEAK_LOOKUP for what all images must agree on. */
  readonly libOrdinal: number;
  /** Added to the address of the symbol. */
  readonly addend: bigint;
  /** The symbol may be missing: then the word becomes 0. */
  readonly weak: boolean;
  /** Bound when the function is first called; until then a word that is rebased too. */
  readonly lazy: boolean;
  /** Chains: the index of the import. */
  readonly importOrdinal: number | undefined;
}

/**
 * The rebases of a file, in columns: those of a dumped image are millions. Segment by segment, addresses
 * ascending in each.
 */
export class RebaseTable implements Iterable<FileRebase> {
  readonly addresses: BigUint64Array;
  readonly targets: BigUint64Array;
  readonly high8: Uint8Array;

  constructor(length: number) {
    this.addresses = new BigUint64Array(length);
    this.targets = new BigUint64Array(length);
    this.high8 = new Uint8Array(length);
  }

  get length(): number {
    return this.high8.length;
  }

  *[Symbol.iterator](): Iterator<FileRebase> {
    for (const [i, high8] of this.high8.entries()) {
      yield { address: this.addresses[i] ?? 0n, target: this.targets[i] ?? 0n, high8 };
    }
  }
}

/**
 * The fixups of a file that was read.
 *
 * @throws FormatError as `readChainedFixups`, `readChains`, `decodeRebases` and `decodeBinds`
 */
export function readFixups(file: MachOFile): FileFixups {
  const style = fixupStyle(file);
  if (style === 'chained') return chained(file);
  const none = { style, pointerFormat: undefined, rebases: new RebaseTable(0), binds: [] };
  return style === 'none' ? none : { ...none, rebases: plainRebases(file), binds: plainBinds(file) };
}

/** How a file says what is to be fixed. */
export function fixupStyle(file: MachOFile): FixupStyle {
  if (findCommands(file, LC.LC_DYLD_CHAINED_FIXUPS).length > 0) return 'chained';
  return findCommands(file, LC.LC_DYLD_INFO, LC.LC_DYLD_INFO_ONLY).length > 0 ? 'dyld-info' : 'none';
}

const blobOf = (file: MachOFile, kind: LinkeditKind): Uint8Array =>
  wholeContents(findBlob(file, kind)?.contents ?? new Uint8Array(0));

function plainRebases(file: MachOFile): RebaseTable {
  const segments = segmentsOf(file);
  const slots = decodeRebases(blobOf(file, 'rebase'), segments);
  const table = new RebaseTable(slots.reduce((sum, { offsets }) => sum + offsets.length, 0));
  let filled = 0;
  for (const { segment: index, offsets } of slots) {
    const segment = segments[index];
    if (!segment) continue;
    for (const [i, offset] of offsets.entries())
      table.addresses[filled + i] = segment.vmaddr + BigInt(offset);
    readWords(segment.contents ?? new Uint8Array(0), offsets, table.targets.subarray(filled));
    filled += offsets.length;
  }
  return table;
}

function plainBinds(file: MachOFile): FileBind[] {
  const segments = segmentsOf(file);
  const kinds: [BindKind, LinkeditKind][] = [
    ['bind', 'bind'],
    ['weak', 'weak-bind'],
    ['lazy', 'lazy-bind'],
  ];
  return kinds.flatMap(([kind, blob]) =>
    decodeBinds(blobOf(file, blob), kind, segments).binds.map(
      ({ segment, offset, symbol, libOrdinal, addend, flags }): FileBind => ({
        address: (segments[segment]?.vmaddr ?? 0n) + BigInt(offset),
        symbol,
        libOrdinal,
        addend,
        weak: (flags & BIND_SYMBOL_FLAGS.BIND_SYMBOL_FLAGS_WEAK_IMPORT) !== 0,
        lazy: kind === 'lazy',
        importOrdinal: undefined,
      }),
    ),
  );
}

function chained(file: MachOFile): FileFixups {
  const fixups = readChainedFixups(blobOf(file, 'chained-fixups'));
  const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
  const segments = segmentsOf(file);
  const format = fixups.pointerFormat ?? 0;
  const chains = fixups.segments.flatMap((starts, i) => {
    if (!starts) return [];
    const segment = checkSegment(segments[i], i, starts, base);
    return { vmaddr: segment.vmaddr, ...readChains(starts, segment.contents ?? new Uint8Array(0)) };
  });
  const table = new RebaseTable(chains.reduce((sum, { offsets }) => sum + offsets.length, 0));
  const binds: FileBind[] = [];
  let filled = 0;
  for (const { vmaddr, offsets, targets, high8, binds: bound } of chains) {
    for (const [i, offset] of offsets.entries()) {
      table.addresses[filled + i] = vmaddr + BigInt(offset);
      table.targets[filled + i] = targetAddress(format, targets[i] ?? 0, base);
    }
    table.high8.set(high8, filled);
    filled += offsets.length;
    for (const { offset, ordinal, addend } of bound) {
      binds.push(importedAt(fixups, vmaddr + BigInt(offset), ordinal, addend));
    }
  }
  return { style: 'chained', pointerFormat: fixups.pointerFormat, rebases: table, binds };
}

function checkSegment(
  segment: SegmentCommand | undefined,
  index: number,
  { segmentOffset }: SegmentStarts,
  base: bigint,
): SegmentCommand {
  if (segment && segment.vmaddr - base === segmentOffset) return segment;
  const expected = segment ? hex(BigInt.asUintN(64, segment.vmaddr - base)) : 'no starts where no segment is';
  throw new FormatError(
    'MACHO_BAD_CHAINED_FIXUPS',
    `Mach-O: segment_offset of segment ${index} of the chained fixups is ${hex(segmentOffset)}, expected ${expected}`,
    { value: segmentOffset },
  );
}

function importedAt(
  { imports }: ReadChainedFixups,
  address: bigint,
  ordinal: number,
  addend: number,
): FileBind {
  const symbol = imports[ordinal];
  if (!symbol) {
    throw new FormatError(
      'MACHO_BAD_CHAIN',
      `Mach-O: the chained bind at ${hex(address)} has the ordinal ${ordinal}, expected less than ${imports.length}`,
      { value: ordinal },
    );
  }
  return {
    address,
    symbol: symbol.symbol,
    libOrdinal: symbol.libOrdinal,
    addend: symbol.addend + BigInt(addend),
    weak: symbol.weak,
    lazy: false,
    importOrdinal: ordinal,
  };
}

/** Bytes that are read at once. */
const CHUNK = 2 ** 20;

/** The words at ascending offsets of a segment; what is beyond its bytes in the file reads as zeros. */
export function readWords(contents: Contents, offsets: Float64Array, words: BigUint64Array): void {
  const size = contentsSize(contents);
  let start = 0;
  let chunk = viewOf(new Uint8Array());
  for (const [i, offset] of offsets.entries()) {
    // A hostile stream has slots all over a segment of 2^63 bytes: nothing is allocated for them.
    if (offset >= size) {
      words[i] = 0n;
      continue;
    }
    if (offset + POINTER_SIZE > start + chunk.byteLength) {
      const bytes = new Uint8Array(CHUNK);
      start = offset;
      bytes.set(readContents(contents, start, Math.min(CHUNK, size - start)));
      chunk = viewOf(bytes);
    }
    words[i] = chunk.getBigUint64(offset - start, LE);
  }
}
