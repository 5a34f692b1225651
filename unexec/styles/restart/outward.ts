/**
 * Words of dumped memory that lead out of the program: into libraries, stacks, memory of another allocator.
 * In the next life nothing of that is where it was. One whose value is that of an imported symbol becomes
 * a bind of the symbol. Of the others a comparison is sure where what they lead to had moved, and makes
 * them null pointers, which fail at once where they are used; all others stay as they are, and are told.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import type { OutwardSlots } from '../../pointers.ts';
import type { Bound } from './bound-words.ts';
import type { FoundPointers, PointerSearch, Run } from './found-pointers.ts';

/** A word in dumped memory that becomes one which the loader binds. */
export interface AddedBind<B extends Bound> {
  /** Bytes from the start of its segment. */
  readonly offset: number;
  /** A bind of the same symbol elsewhere in the file. */
  readonly like: B;
}

export interface SettledOutward<B extends Bound> {
  /** By index of the segment, as the rest. */
  readonly added: ReadonlyMap<number, readonly AddedBind<B>[]>;
  /** Offsets of words that become 0, ascending. */
  readonly nulled: ReadonlyMap<number, Float64Array>;
  /** Words that lead out and are no binds: those that become 0, and those that stay. */
  readonly lost: { readonly nulled: number; readonly left: number };
  /** A line for each of them, up to some hundreds. */
  readonly remarks: readonly string[];
}

const MOST_REMARKS = 200;
/** Libraries lie higher, on every system: a word that is equal in two runs and smaller is a number. */
const LOWEST_ADDRESS = 2n ** 32n;

/** By the value of a word. */
export interface ImportOf<B extends Bound> {
  get(value: bigint): B | undefined;
  /** What a word leads to that is no import, better than by its mapping. */
  describe?(value: bigint): string | undefined;
}

export function settleOutward<B extends Bound>(
  { ranges, first, nameOf }: Pick<PointerSearch, 'ranges' | 'first' | 'nameOf'>,
  found: FoundPointers,
  importOf: ImportOf<B>,
): SettledOutward<B> {
  const added = new Map<number, AddedBind<B>[]>();
  const nulled = new Map<number, Float64Array>();
  const lost = { nulled: 0, left: 0 };
  const remarks: string[] = [];
  const isCompared = found.method === 'comparison';
  for (const { index, address } of ranges.filter(({ searched }) => searched)) {
    const words = [
      ...wordsOf(first, address, found.outward.get(index)).map(word => ({ ...word, isSure: isCompared })),
      ...wordsOf(first, address, found.still.get(index)).map(word => ({ ...word, isSure: false })),
    ].sort((a, b) => a.offset - b.offset);
    const binds: AddedBind<B>[] = [];
    const gone: number[] = [];
    for (const { offset, value, module, target: at, isSure } of words) {
      const like = importOf.get(value);
      if (like !== undefined) {
        binds.push({ offset, like });
        continue;
      }
      if (!isSure && value < LOWEST_ADDRESS) continue;
      if (isSure) gone.push(offset);
      lost[isSure ? 'nulled' : 'left']++;
      if (remarks.length >= MOST_REMARKS) continue;
      const place = nameOf(address + BigInt(offset));
      const target = importOf.describe?.(value) ?? `${found.outsideNames[module] ?? 'memory'}+${hex(at)}`;
      const fate = isSure ? 'becomes a null pointer' : 'stays as it is';
      remarks.push(`${place}: leads out of the program, to ${target}: ${fate}`);
    }
    if (binds.length > 0) added.set(index, binds);
    if (gone.length > 0) nulled.set(index, Float64Array.from(gone));
  }
  return { added, nulled, lost, remarks };
}

interface OutwardWord {
  readonly offset: number;
  readonly value: bigint;
  /** Index of what it leads to, and where in it. */
  readonly module: number;
  readonly target: number;
}

function wordsOf({ image, slide }: Run, address: bigint, slots: OutwardSlots | undefined): OutwardWord[] {
  if (slots === undefined) return [];
  const bytes = new Uint8Array(8);
  const word = new DataView(bytes.buffer);
  return Array.from(slots.offsets, (offset, i) => {
    image.memory.read(address + slide + BigInt(offset), bytes);
    const value = word.getBigUint64(0, true);
    return { offset, value, module: slots.modules[i] ?? -1, target: slots.targets[i] ?? 0 };
  });
}
