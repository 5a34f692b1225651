/**
 * By how much the loader moved the pointers of an executable: read off the words that it says are pointers.
 * That tells the image that runs from a copy of its file, whose pointers nobody has moved, and addresses of
 * an emulated program from those of its emulator.
 *
 * @module
 */
import { readFixups } from '../../formats/macho/fixups.ts';
import type { MachOFile } from '../../formats/macho/index.ts';
import type { MemoryReader } from '../image.ts';

/** Words that are looked at; the program may have overwritten some. */
const SAMPLES = 256;

export interface FixedPointer {
  /** Before the slide: of the word, and of what it leads to. */
  readonly address: bigint;
  readonly target: bigint;
}

/** Pointers of the file, from all over it. */
export function samplePointers(file: MachOFile): FixedPointer[] {
  const { rebases } = readFixups(file);
  const step = Math.max(1, Math.floor(rebases.length / SAMPLES));
  const samples: FixedPointer[] = [];
  for (let i = 0; i < rebases.length && samples.length < SAMPLES; i += step) {
    const address = rebases.addresses[i];
    const target = rebases.targets[i];
    if (address === undefined || target === undefined) continue;
    samples.push({ address, target: BigInt.asUintN(64, target | (BigInt(rebases.high8[i] ?? 0) << 56n)) });
  }
  return samples;
}

/** How many of these pointers were moved by what, where the image lies `displacement` above its own addresses. */
export function slidesOf(
  memory: MemoryReader,
  pointers: readonly FixedPointer[],
  displacement: bigint,
): Map<bigint, number> {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const slides = new Map<bigint, number>();
  for (const { address, target } of pointers) {
    memory.read(address + displacement, bytes);
    const slide = BigInt.asIntN(64, view.getBigUint64(0, true) - target);
    slides.set(slide, (slides.get(slide) ?? 0) + 1);
  }
  return slides;
}
