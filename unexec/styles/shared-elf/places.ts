/**
 * Where the words of the first run are in the new file.
 *
 * @module
 */
import { UnexecError } from '../../errors.ts';
import type { BlockLayout } from './block-layout.ts';
import type { ComparedRuns } from './compare-runs.ts';
import type { Places } from './relocation-plan.ts';
import type { NewSegments } from './write-library.ts';

/** Places by addresses of the first run. */
export function placesOf(
  { a, pairs }: ComparedRuns,
  { offsets }: BlockLayout,
  { code, heap }: NewSegments,
): Places {
  const { start, end, bias } = a.run.library;
  const placeOf = (at: number): bigint => {
    const address = BigInt(at);
    if (address >= start && address <= end) return address - bias;
    const number = pairs.numberAt(at);
    if (number < 0) throw new UnexecError('INTERNAL', `0x${at.toString(16)} is in no block that is kept`);
    return heap.address + BigInt((offsets[number] ?? 0) + at - pairs.extent(number).a);
  };
  return { code: code.address, heap: heap.address, placeOf };
}
