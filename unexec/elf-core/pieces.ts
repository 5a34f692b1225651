/**
 * What a core says of memory, in pieces each of which lies in one mapped file, or in none: its segments, cut where files
 * begin and end, and what of the files no segment covers. Facts: core(5); gdb leaves out mappings without contents.
 *
 * @module
 */
import type { MappedFile } from './mapped-files.ts';
import type { OpenElfCore } from './open-core.ts';

/** A part of a core's segment that lies in one file, or in none. */
export interface Piece {
  readonly start: bigint;
  readonly size: number;
  /** PF_*; undefined where the core has no such segment. */
  readonly flags: number | undefined;
  /** Bytes from the start that are in the core. */
  readonly present: number;
  readonly fill: (offset: number, into: Uint8Array) => void;
  readonly file: MappedFile | undefined;
}

/** By address. */
export const corePieces = (open: OpenElfCore, mapped: readonly MappedFile[]): Piece[] =>
  [...segmentPieces(open, mapped), ...filePieces(open, mapped)].sort((a, b) => (a.start < b.start ? -1 : 1));

/** Segments of the core, cut where mapped files begin and end. */
function segmentPieces({ core }: OpenElfCore, mapped: readonly MappedFile[]): Piece[] {
  let first = 0;
  return core.memory.flatMap(({ address, size, flags, contents }) => {
    const end = address + BigInt(size);
    while ((mapped[first]?.end ?? end) <= address) first++;
    const within: MappedFile[] = [];
    for (let i = first; ; i++) {
      const file = mapped[i];
      if (file === undefined || file.start >= end) break;
      within.push(file);
    }
    const cuts = [...within.flatMap(file => [file.start, file.end]), end]
      .filter(cut => cut > address && cut <= end)
      .sort((a, b) => (a < b ? -1 : 1));
    const pieces: Piece[] = [];
    let start = address;
    let next = 0;
    for (const cut of cuts) {
      if (cut === start) continue;
      const into = Number(start - address);
      const length = Number(cut - start);
      while ((within[next]?.end ?? end) <= start && next < within.length) next++;
      const file = within[next];
      pieces.push({
        start,
        size: length,
        flags,
        present: Math.max(0, Math.min(length, contents.size - into)),
        fill: (offset, bytes) => bytes.set(contents.read(into + offset, bytes.length)),
        file: file !== undefined && file.start <= start ? file : undefined,
      });
      start = cut;
    }
    return pieces;
  });
}

/** What of the mapped files no segment of the core covers. */
function filePieces({ core }: OpenElfCore, mapped: readonly MappedFile[]): Piece[] {
  const pieces: Piece[] = [];
  let first = 0;
  for (const file of mapped) {
    let start = file.start;
    for (; first < core.memory.length; first++) {
      const segment = core.memory[first];
      if (segment === undefined || segment.address + BigInt(segment.size) > start) break;
    }
    const add = (end: bigint): void => {
      if (end > start) {
        pieces.push({ start, size: Number(end - start), flags: undefined, present: 0, fill: () => {}, file });
      }
    };
    for (let i = first; i < core.memory.length; i++) {
      const { address = file.end, size = 0 } = core.memory[i] ?? {};
      if (address >= file.end) break;
      add(address);
      start = address + BigInt(size);
    }
    add(file.end);
  }
  return pieces;
}
