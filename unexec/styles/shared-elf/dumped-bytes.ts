/**
 * The bytes of the new file's writable segments: the library's variables and its blocks as they were in the first
 * run, the loader's words as the linker left them, and every pointer as if nothing had been moved (which is what
 * compact relocations add to, and what a reader of the file sees).
 *
 * @module
 */
import { atAddress } from '../../../formats/elf/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { TABLE } from '../../frozen-allocations/functions.ts';
import type { BlockLayout } from './block-layout.ts';
import type { ComparedRuns, Scratch } from './compare-runs.ts';
import type { LibraryFile } from './library-file.ts';
import type { RelativeWord } from './relocation-plan.ts';

export interface DumpedBytes {
  /** Of each writable segment: its memory. */
  readonly segments: readonly Uint8Array[];
  /** The table of the stubs, then the blocks. */
  readonly heap: Uint8Array;
}

/** Fills the segments, all but the relocated words. */
export function dumpBytes(
  library: LibraryFile,
  compared: ComparedRuns,
  layout: BlockLayout,
  scratch: readonly Scratch[],
): DumpedBytes {
  const { memory, run } = compared.a;
  const segments = library.writable.map(({ segment, loaders }) => {
    const bytes = new Uint8Array(segment.memorySize);
    memory.read(run.library.bias + segment.address, bytes);
    for (const { start, end } of loaders) {
      bytes.fill(0, start, end);
      const inFile = Math.min(end, segment.fileSize);
      if (inFile <= start) continue;
      const source = atAddress(library.file, segment.address + BigInt(start));
      if (source !== undefined) bytes.set(source.read(0, inFile - start), start);
    }
    for (const { address, size } of scratch) {
      const start = Number(address - segment.address);
      if (start >= 0 && start < bytes.length) bytes.fill(0, start, start + size);
    }
    return bytes;
  });

  const heap = new Uint8Array(layout.size);
  const view = viewOf(heap);
  view.setBigUint64(TABLE.size, BigInt(layout.size), true);
  const { returned } = run;
  // A pointer is relocated; what differs otherwise was no result.
  if (returned !== undefined && returned === compared.b.run.returned) {
    view.setBigUint64(TABLE.returned, returned, true);
  }
  for (const [number, offset] of layout.offsets.entries()) {
    const { a, size } = compared.pairs.extent(number);
    view.setBigUint64(offset - 8, BigInt(size), true);
    memory.read(BigInt(a), heap.subarray(offset, offset + size));
  }
  return { segments, heap };
}

export interface Patcher {
  /** Writes a word wherever this address of the file is. */
  readonly word: (address: bigint, value: bigint) => void;
  /** Clears bytes from this address on. */
  readonly clear: (address: bigint, count: number) => void;
}

/** Writes words into the bytes, by their addresses in the new file. */
export function patcher(library: LibraryFile, { segments, heap }: DumpedBytes, heapAddress: bigint): Patcher {
  const places = [
    ...library.writable.map(({ segment }, i) => ({ start: segment.address, bytes: segments[i] ?? heap })),
    { start: heapAddress, bytes: heap },
  ].map(({ start, bytes }) => ({ start, end: start + BigInt(bytes.length), view: viewOf(bytes) }));
  const clear = (address: bigint, count: number): void => {
    const place = places.find(({ start, end }) => address >= start && address + BigInt(count) <= end);
    for (let i = 0; i < count; i++) place?.view.setUint8(Number(address - place.start) + i, 0);
  };
  return {
    clear,
    word: (address, value) => {
      const place = places.find(({ start, end }) => address >= start && address + 8n <= end);
      place?.view.setBigUint64(Number(address - place.start), value, true);
    },
  };
}

/** Every relocated word as it is before anything is added to it. */
export function fillWords(
  { word }: Patcher,
  relative: readonly RelativeWord[],
  empty: readonly bigint[],
): void {
  for (const address of empty) word(address, 0n);
  for (const { place, target } of relative) word(place, target);
}
