/**
 * Where a word is, for messages: the symbol, or the block with what leads to it.
 *
 * @module
 */
import { hex } from '../../formats/errors.ts';
import type { BlockGraph, Reached } from '../blocks.ts';
import type { UnexplainedWord } from './compare.ts';
import type { Diagnosis } from './diagnose.ts';

export interface PlaceNames {
  /** `table+0x8 (.data)`, for an address of the first run outside of all blocks. */
  readonly nameOf: (address: bigint) => string;
  /** Blocks of the first run, and what is reachable from its variables. */
  readonly graph?: BlockGraph;
  readonly reached?: Reached;
}

/** At most so many blocks are named on the way from a variable to one. */
const MOST_STEPS = 4;

/** `offset 0x10 of a block of 48 bytes at 0x5555…, reached from table+0x8 (.bss) over 3 blocks`. */
export function placeOfWord(address: bigint, names: PlaceNames): string {
  const { graph } = names;
  const index = graph?.blocks.find(Number(address)) ?? -1;
  if (graph === undefined || index < 0) return names.nameOf(address);
  const { start, size } = graph.blocks.at(index);
  const offset = hex(Number(address) - start);
  return `offset ${offset} of a block of ${size} bytes at ${hex(start)}${pathTo(index, graph, names)}`;
}

/** From which variable a block is reached. */
function pathTo(index: number, graph: BlockGraph, { reached, nameOf }: PlaceNames): string {
  if (reached === undefined) return '';
  const root = reached.rootOf[index] ?? -1;
  if (root < 0) return ', which nothing reaches';
  let steps = 0;
  for (let at = reached.parents[index] ?? -1; at >= 0; at = reached.parents[at] ?? -1) steps++;
  const from = nameOf(BigInt(graph.roots.addresses[root] ?? 0));
  const over =
    steps === 0
      ? ''
      : ` over ${steps <= MOST_STEPS ? steps : `more than ${MOST_STEPS}`} block${steps === 1 ? '' : 's'}`;
  return `, reached from ${from}${over}`;
}

/** One line: where the word is, both values, what it seems to be. */
export function unexplainedLine(
  { range, offset, value1, value2 }: UnexplainedWord,
  { text }: Diagnosis,
  names: PlaceNames,
): string {
  const place = placeOfWord(range.start1 + BigInt(offset), names);
  return `${place}: unexplained: ${hex(value1)} in one run, ${hex(value2)} in the other: ${text}`;
}
