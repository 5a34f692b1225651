/**
 * The stack of the first thread. The kernel puts strings at its end and then a random number of bytes (up to 8 KiB) above the
 * auxiliary vector, the arguments and the frames: so it is two areas, each of which ends where it does in another run.
 * Facts: binfmt_elf.c and arch_align_stack() of Linux 6.1.
 *
 * @module
 */
import { AT } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { endOf, type MemoryReader } from '../image.ts';
import type { Area } from './side.ts';

/** What the kernel told the process at its start. */
export interface Auxv {
  /** Address after its last entry. */
  readonly end: bigint;
  /** Address of the 16 random bytes (AT_RANDOM). */
  readonly random: bigint;
}

const ENTRY = 16;
const MAX_ENTRIES = 64;
/** The vector is among the last words of the stack, below strings that the caller of exec gave. */
const SEARCHED = 256 << 10;

/** Finds the vector by its entry that holds the address of the vdso. */
export function findAuxv(areas: readonly Area[], memory: MemoryReader): Auxv | undefined {
  const vdso = areas.find(({ kind }) => kind === 'vdso');
  const stack = areas.find(({ kind }) => kind === 'stack');
  if (vdso === undefined || stack === undefined) return undefined;
  const bytes = new Uint8Array(Math.min(stack.size, SEARCHED));
  const start = endOf(stack) - BigInt(bytes.length);
  memory.read(start, bytes);
  const view = viewOf(bytes);
  for (let at = 0; at + ENTRY <= bytes.length; at += 8) {
    if (view.getBigUint64(at, true) !== BigInt(AT.AT_SYSINFO_EHDR)) continue;
    if (view.getBigUint64(at + 8, true) === vdso.start) return readVector(view, at, start);
  }
  return undefined;
}

function readVector(view: DataView, from: number, start: bigint): Auxv | undefined {
  let random = 0n;
  const last = Math.min(from + MAX_ENTRIES * ENTRY, view.byteLength) - ENTRY;
  for (let at = from; at <= last; at += ENTRY) {
    const type = view.getBigUint64(at, true);
    if (type === BigInt(AT.AT_RANDOM)) random = view.getBigUint64(at + 8, true);
    if (type === BigInt(AT.AT_NULL)) return { end: start + BigInt(at + ENTRY), random };
  }
  return undefined;
}

/** The areas with the stack in two. */
export const splitStack = (areas: readonly Area[], vector: Auxv | undefined): Area[] =>
  areas.flatMap(area => {
    if (area.kind !== 'stack' || vector === undefined) return [area];
    const size = Number(vector.end - area.start);
    if (size <= 0 || size >= area.size) return [area];
    return [
      { ...area, size },
      { ...area, name: `${area.name} strings`, start: vector.end, size: area.size - size },
    ];
  });
