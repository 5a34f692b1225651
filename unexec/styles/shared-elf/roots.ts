/**
 * What hangs on which variable of the library: blocks and bytes that it led to first, when they were followed
 * depth first.
 *
 * @module
 */
import type { ComparedRuns } from './compare-runs.ts';
import type { LibraryFile } from './library-file.ts';
import { variableNamer } from './refusals.ts';

export interface RootUse {
  /** The variable; empty: what the initialiser returned. */
  readonly name: string;
  readonly blocks: number;
  /** Usable bytes of them. */
  readonly bytes: number;
  /** Bytes of the largest one. */
  readonly largest: number;
}

/** The variables with most bytes, largest first. */
export function usesByRoot(library: LibraryFile, { a, pairs }: ComparedRuns, most: number): RootUse[] {
  const { bias } = a.run.library;
  const nameOf = variableNamer(library);
  const names = new Map<number, string>();
  const uses = new Map<string, { name: string; blocks: number; bytes: number; largest: number }>();
  const rootOf = new Float64Array(pairs.count);
  for (let number = 0; number < pairs.count; number++) {
    const at = pairs.foundAt[number] ?? 0;
    // What led to a block was reached before it.
    const parent = at === 0 ? -1 : pairs.numberAt(at);
    const root = parent < 0 ? at : (rootOf[parent] ?? 0);
    rootOf[number] = root;
    const name = names.get(root) ?? (root === 0 ? '' : nameOf(BigInt(root) - bias).replace(/\+0x.*/, ''));
    names.set(root, name);
    const use = uses.get(name) ?? { name, blocks: 0, bytes: 0, largest: 0 };
    const { size } = pairs.extent(number);
    use.blocks++;
    use.bytes += size;
    use.largest = Math.max(use.largest, size);
    uses.set(name, use);
  }
  return [...uses.values()].sort((x, y) => y.bytes - x.bytes).slice(0, most);
}

/** The symbols that most words lead to, with their numbers. */
export function usesOfSymbols(
  { outward }: ComparedRuns,
  targets: ReadonlyMap<bigint, { readonly name: string }>,
  most: number,
): { readonly name: string; readonly words: number }[] {
  const words = new Map<string, number>();
  for (const { value } of outward) {
    const name = targets.get(value)?.name ?? '';
    words.set(name, (words.get(name) ?? 0) + 1);
  }
  return [...words]
    .map(([name, words]) => ({ name, words }))
    .sort((x, y) => y.words - x.words)
    .slice(0, most);
}
