/**
 * By how much the loader moved the pointers of an ELF program: read off the words that its relocations say
 * are pointers into itself. That tells the addresses of an emulated program from those of its emulator.
 *
 * @module
 */
import { dynamicTypes, type ElfFile, readDynamicRelocations } from '../../formats/elf/index.ts';
import type { MemoryReader } from '../image.ts';

/** Words that are looked at; the program may have overwritten some. */
const SAMPLES = 256;

export interface FixedWord {
  /** Before the slide: of the word, and of what it leads to. */
  readonly address: bigint;
  readonly target: bigint;
}

/** Words with a relative relocation in DT_RELA, from all over the table. */
export function fixedWords(file: ElfFile): FixedWord[] {
  const { rela } = readDynamicRelocations(file);
  const { relative } = dynamicTypes(file.header.machine);
  const step = Math.max(1, Math.floor(rela.length / SAMPLES));
  const words: FixedWord[] = [];
  for (let i = 0; i < rela.length; i += step) {
    const address = rela.offsets[i];
    const target = rela.addends[i];
    if (rela.types[i] !== relative || address === undefined || target === undefined) continue;
    words.push({ address, target: BigInt.asUintN(64, target) });
  }
  return words;
}

/** The slide that most of the words were moved by; undefined where there are none, or they do not agree. */
export function slideOfWords(
  memory: MemoryReader,
  words: readonly FixedWord[],
  displacement: bigint,
): bigint | undefined {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const slides = new Map<bigint, number>();
  for (const { address, target } of words) {
    memory.read(address + displacement, bytes);
    const slide = BigInt.asIntN(64, view.getBigUint64(0, true) - target);
    slides.set(slide, (slides.get(slide) ?? 0) + 1);
  }
  const [most] = [...slides].sort((a, b) => b[1] - a[1]);
  return most !== undefined && most[1] * 2 > words.length ? most[0] : undefined;
}
