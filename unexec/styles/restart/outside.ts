/**
 * What is mapped beside the program in a run, by its mappings, and words that lead there.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import type { OutwardSlots, PairedModule, UnexplainedWord } from '../../pointers.ts';
import type { ProgramRange, Run } from './found-pointers.ts';

export interface NamedMapping {
  readonly name: string;
  readonly start: bigint;
  readonly size: number;
}

/** Everything mapped that is not the program, by its mappings. */
export function outsideOf(ranges: readonly ProgramRange[], { image, slide }: Run): NamedMapping[] {
  const own = ranges.map(({ address, size }) => ({
    start: address + slide,
    end: address + slide + BigInt(size),
  }));
  return image.regions
    .filter(({ start, size }) => !own.some(range => start < range.end && start + BigInt(size) > range.start))
    .map(({ name, start, size }) => ({ name: name === '' ? `memory at ${hex(start)}` : name, start, size }));
}

/** Mappings of both runs that are the same thing: the n-th of the same name and size. */
export function pairedOutside(ranges: readonly ProgramRange[], first: Run, second: Run) {
  const keyed = (run: Run): Map<string, NamedMapping> => {
    const names = new Map(run.image.regions.map(({ start, name }) => [start, name]));
    const seen = new Map<string, number>();
    return new Map(
      outsideOf(ranges, run).map(mapping => {
        const key = `${names.get(mapping.start) ?? ''} ${mapping.size}`;
        const count = seen.get(key) ?? 0;
        seen.set(key, count + 1);
        return [`${key} ${count}`, mapping] as const;
      }),
    );
  };
  const others = keyed(second);
  return [...keyed(first)].flatMap(([key, { name, start, size }]) => {
    const other = others.get(key);
    return other === undefined ? [] : [{ name, start1: start, start2: other.start, size }];
  });
}

export interface OutwardSlot {
  readonly offset: number;
  readonly module: number;
  readonly target: number;
}

/**
 * Where outside a word leads that did not move with anything, and yet is an address of the same mapping in both
 * runs: of a stack, mostly, which begins at random within a page.
 */
export function slotOutside(
  { offset, value1, value2 }: UnexplainedWord,
  outside: readonly PairedModule[],
): OutwardSlot | undefined {
  const module = outside.findIndex(
    ({ start1, start2, size }) =>
      value1 >= start1 &&
      value1 < start1 + BigInt(size) &&
      value2 >= start2 &&
      value2 < start2 + BigInt(size),
  );
  return module < 0
    ? undefined
    : { offset, module, target: Number(value1 - (outside[module]?.start1 ?? 0n)) };
}

export function withSlots(present: OutwardSlots, slots: readonly OutwardSlot[]): OutwardSlots {
  if (slots.length === 0) return present;
  const all = [
    ...Array.from(present.offsets, (offset, i) => ({
      offset,
      module: present.modules[i] ?? -1,
      target: present.targets[i] ?? 0,
    })),
    ...slots,
  ].sort((a, b) => a.offset - b.offset);
  return {
    offsets: Float64Array.from(all, ({ offset }) => offset),
    modules: Float64Array.from(all, ({ module }) => module),
    targets: Float64Array.from(all, ({ target }) => target),
  };
}
