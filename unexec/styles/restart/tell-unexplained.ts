/**
 * What a user is told of words that two runs do not explain: where each is, by symbol or by the block of the
 * zone and what leads to it, both values, and what it seems to be.
 *
 * @module
 */
import type { MemoryImage } from '../../image.ts';
import { diagnose, type RunFacts } from '../../pointers/diagnose.ts';
import { type PlaceNames, unexplainedLine } from '../../pointers/word-place.ts';
import type { PairedModule, PointerComparison, UnexplainedWord } from '../../pointers.ts';
import { zoneGraph } from './pointer-map.ts';

export interface Unexplained {
  readonly words: readonly UnexplainedWord[];
  readonly comparison: PointerComparison;
  readonly outside: readonly PairedModule[];
  readonly first: { readonly image: MemoryImage; readonly facts?: RunFacts | undefined };
  readonly second: { readonly image: MemoryImage; readonly facts?: RunFacts | undefined };
  /** Of an address of the first run. */
  readonly nameOf: (address: bigint) => string;
}

/** A line for each word. Costs something only where there are any: then the blocks of the zone are found. */
export function tellUnexplained(unexplained: Unexplained): string[] {
  const { words, comparison, outside, first, second } = unexplained;
  if (words.length === 0) return [];
  const names: PlaceNames = {
    nameOf: unexplained.nameOf,
    ...zoneGraph(comparison.ranges, first.image.memory),
  };
  const told = diagnose({
    arch: first.image.arch,
    words,
    ranges: comparison.ranges.map(({ range }) => range),
    outside,
    image: { a: first.image, b: second.image },
    ...(first.facts === undefined || second.facts === undefined ? {} : { runs: [first.facts, second.facts] }),
    blockOf: address => {
      const index = names.graph?.blocks.find(Number(address)) ?? -1;
      return index < 0 ? undefined : index;
    },
  });
  return words.map((word, i) => {
    const diagnosis = told[i];
    return diagnosis === undefined ? '' : unexplainedLine(word, diagnosis, names);
  });
}
