/**
 * Words of dumped memory that lead out of the program: into libraries, stacks, memory of another allocator.
 * In the next life nothing of that is where it was. One whose value is that of an imported symbol becomes
 * a bind of the symbol. Of the others a comparison is sure, and makes them null pointers, which fail at
 * once where they are used; a scan is not, and leaves them as they are.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import { type FileBind, type MachOFile, segmentsOf } from '../../../formats/macho/index.ts';
import type { AddedBind } from './fixup-plan.ts';
import type { FoundPointers, Run } from './found-pointers.ts';
import { nameOfPlace } from './place-name.ts';

export interface SettledOutward {
  /** By index of the segment, as the rest. */
  readonly added: ReadonlyMap<number, readonly AddedBind[]>;
  /** Offsets of words that become 0, ascending. */
  readonly nulled: ReadonlyMap<number, Float64Array>;
  /** Words that lead out and are no binds. */
  readonly lost: number;
  /** A line for each of them, up to some hundreds. */
  readonly remarks: readonly string[];
}

const MOST_REMARKS = 200;

export function settleOutward(
  file: MachOFile,
  { image, slide }: Run,
  found: FoundPointers,
  importOf: ReadonlyMap<bigint, FileBind>,
): SettledOutward {
  const segments = segmentsOf(file);
  const added = new Map<number, AddedBind[]>();
  const nulled = new Map<number, Float64Array>();
  const remarks: string[] = [];
  let lost = 0;
  const bytes = new Uint8Array(8);
  const word = new DataView(bytes.buffer);
  for (const [index, { offsets, modules, targets }] of found.outward) {
    const address = segments[index]?.vmaddr ?? 0n;
    const binds: AddedBind[] = [];
    const others: number[] = [];
    for (const [i, offset] of offsets.entries()) {
      image.memory.read(address + slide + BigInt(offset), bytes);
      const like = importOf.get(word.getBigUint64(0, true));
      if (like !== undefined) {
        binds.push({ offset, like });
        continue;
      }
      others.push(offset);
      if (lost++ >= MOST_REMARKS) continue;
      const module = found.outsideNames[modules[i] ?? -1] ?? 'memory';
      const fate = found.method === 'comparison' ? 'becomes a null pointer' : 'stays as it is';
      remarks.push(
        `${nameOfPlace(file, address + BigInt(offset))}: leads out of the program, to ${module}+${hex(targets[i] ?? 0)}: ${fate}`,
      );
    }
    added.set(index, binds);
    if (found.method === 'comparison') nulled.set(index, Float64Array.from(others));
  }
  return { added, nulled, lost, remarks };
}
