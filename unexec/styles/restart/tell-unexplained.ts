/**
 * What a user is told of words that two runs do not explain: where each is, by symbol or by the block of the
 * zone and what leads to it, both values, and what it seems to be.
 *
 * @module
 */
import { type BlockGraph, graphOf, ownZoneBlocks, type Reached, reachableFrom } from '../../blocks.ts';
import type { MemoryImage } from '../../image.ts';
import { diagnose, type RunFacts } from '../../pointers/diagnose.ts';
import { type PlaceNames, unexplainedLine } from '../../pointers/word-place.ts';
import type { PairedModule, PointerComparison, UnexplainedWord } from '../../pointers.ts';
import { beginsZone, unexec_zone_header } from '../../zones/reserve.ts';

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
  const names: PlaceNames = { nameOf: unexplained.nameOf, ...zoneOf(unexplained) };
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

/** The program's own zone begins one of its ranges, where it has one that was started. */
function zoneOf({ comparison, first }: Unexplained): { graph?: BlockGraph; reached?: Reached } {
  const { memory } = first.image;
  const head = new Uint8Array(unexec_zone_header.size);
  const zones = comparison.ranges.filter(({ range }) => {
    if (range.searched === false || range.size < head.length) return false;
    memory.read(range.start1, head);
    return beginsZone(head);
  });
  if (zones.length === 0) return {};
  const blocks = ownZoneBlocks(
    first.image,
    zones.map(({ range }) => range.start1),
  );
  const slots = comparison.ranges.map(({ range, slots }) => ({ start: range.start1, slots }));
  const graph = graphOf(blocks, memory, slots);
  return { graph, reached: reachableFrom(graph) };
}
