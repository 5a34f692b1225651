/**
 * Pointers and blocks of a program as a whole: how many lead from where to where, and which variables the
 * blocks of its zone hang on.
 *
 * @module
 */
import { type BlockGraph, graphOf, ownZoneBlocks, type Reached, reachableFrom } from '../../blocks.ts';
import type { MemoryReader } from '../../image.ts';
import {
  type BlockReport,
  type PointerWay,
  type ReportedRange,
  reportBlocks,
  reportPointers,
} from '../../pointers/report.ts';
import { beginsZone, unexec_zone_header } from '../../zones/reserve.ts';

export interface PointerMap {
  /** Most pointers first. */
  readonly ways: readonly PointerWay[];
  /** Of the program's zone; undefined where none was started. */
  readonly blocks: BlockReport | undefined;
}

/** @param nameOf of an address of the process: `table+0x8 (.bss)` */
export function pointerMap(
  ranges: readonly ReportedRange[],
  outside: readonly { readonly name: string }[],
  memory: MemoryReader,
  nameOf: (address: bigint) => string,
): PointerMap {
  const ways = reportPointers(ranges, outside, memory);
  const zone = zoneGraph(ranges, memory);
  // The words of a table are one variable.
  const variableAt = (address: bigint): string => nameOf(address).replace(/\+0x[\da-f]+(?= \(|$)/, '');
  return { ways, blocks: zone && reportBlocks(zone.graph, zone.reached, variableAt) };
}

/** The zone's blocks and what is reachable. The zone begins one of the ranges, where one was started. */
export function zoneGraph(
  ranges: readonly ReportedRange[],
  memory: MemoryReader,
): { graph: BlockGraph; reached: Reached } | undefined {
  const head = new Uint8Array(unexec_zone_header.size);
  const zones = ranges.flatMap(({ range: { start1, size, searched } }) => {
    if (searched === false || size < head.length) return [];
    memory.read(start1, head);
    return beginsZone(head) ? [start1] : [];
  });
  if (zones.length === 0) return undefined;
  const slots = ranges.map(({ range, slots }) => ({ start: range.start1, slots }));
  const graph = graphOf(ownZoneBlocks({ memory }, zones), memory, slots);
  return { graph, reached: reachableFrom(graph) };
}
