/**
 * The relocations of the new file: a relative one for every pointer found in dumped memory, and what the file
 * had wherever its own words stay. In DT_RELR where the file has one (its libc takes it then), else in
 * DT_RELA; DT_JMPREL stays as it is.
 *
 * @module
 */
import {
  type DynamicRelocations,
  dynamicTypes,
  type ElfFile,
  newRelaTable,
  type RelaTable,
  relocationsOf,
} from '../../../formats/elf/index.ts';
import type { MemoryReader } from '../../image.ts';
import type { DumpedSegment } from './territory.ts';

export interface RelocationPlanInput {
  readonly file: ElfFile;
  readonly present: DynamicRelocations;
  readonly usesRelr: boolean;
  readonly dumped: readonly DumpedSegment[];
  /** Offsets of the pointers found in the dumped segments, ascending, by index of the segment. */
  readonly found: ReadonlyMap<number, Float64Array>;
  /** Whether the word at an address of the file comes from the file. */
  readonly isKept: (address: bigint) => boolean;
  /** New values of words of the file that are pointers: initialisers. */
  readonly redirected: ReadonlyMap<bigint, bigint>;
  /** Words that become symbolic relocations: index in the new .dynsym. */
  readonly added: readonly {
    readonly address: bigint;
    readonly symbolIndex: number;
    readonly addend: bigint;
  }[];
  /** Reads a pointer from memory: address of the file → address that it leads to, without slide. */
  readonly targetOf: (address: bigint) => bigint;
}

export interface RelocationPlan {
  /** Relative ones first. */
  readonly rela: RelaTable;
  /** DT_RELACOUNT. */
  readonly relativeCount: number;
  /** Undefined where the file uses no DT_RELR. */
  readonly relr: BigUint64Array | undefined;
}

export function planRelocations(input: RelocationPlanInput): RelocationPlan {
  const { file, present, isKept, redirected } = input;
  const types = dynamicTypes(file.header.machine);
  const relr: bigint[] = [];
  const relative: { address: bigint; target: bigint }[] = [];
  const others: { offset: bigint; type: number; symbol: number; addend: bigint }[] = [];
  const addRelative = (address: bigint, target: bigint): void => {
    if (input.usesRelr && address % 8n === 0n) relr.push(address);
    else relative.push({ address, target });
  };

  for (const relocation of relocationsOf(present.rela)) {
    const { offset, type, addend } = relocation;
    if (type === types.relative) {
      // What is dumped is found anew, or is no pointer any more.
      if (isKept(offset)) addRelative(offset, redirected.get(offset) ?? BigInt.asUintN(64, addend));
    } else if (type !== types.absolute || isKept(offset)) {
      others.push(relocation);
    }
  }
  for (const address of present.relr) if (isKept(address)) relr.push(address);
  for (const { index, segment } of input.dumped) {
    for (const offset of input.found.get(index) ?? []) {
      const address = segment.address + BigInt(offset);
      addRelative(address, input.targetOf(address));
    }
  }
  for (const { address, symbolIndex, addend } of input.added) {
    others.push({ offset: address, type: types.absolute, symbol: symbolIndex, addend });
  }

  relative.sort((a, b) => (a.address < b.address ? -1 : 1));
  const rela = newRelaTable(relative.length + others.length);
  for (const [i, { address, target }] of relative.entries()) {
    rela.offsets[i] = address;
    rela.types[i] = types.relative;
    rela.addends[i] = BigInt.asIntN(64, target);
  }
  for (const [k, { offset, type, symbol, addend }] of others.entries()) {
    const i = relative.length + k;
    rela.offsets[i] = offset;
    rela.types[i] = type;
    rela.symbols[i] = symbol;
    rela.addends[i] = addend;
  }
  return {
    rela,
    relativeCount: relative.length,
    relr: input.usesRelr ? BigUint64Array.from(relr).sort() : undefined,
  };
}

/** Reads words of memory by addresses of the file; neighbours share a read. */
export function wordReader(memory: MemoryReader, slide: bigint): (address: bigint) => bigint {
  const chunk = new Uint8Array(65_536 + 8);
  const view = new DataView(chunk.buffer);
  let start = -1n;
  return address => {
    const into = address - start;
    if (start < 0n || into < 0n || into > 65_536n) {
      start = address;
      memory.read(address + slide, chunk);
    }
    return view.getBigUint64(Number(address - start), true);
  };
}
