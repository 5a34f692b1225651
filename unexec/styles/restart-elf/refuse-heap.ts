/**
 * A program whose heap is not in a reserve loses it with the process: its variables would be left without what
 * they lead to. Such a program is refused, with the variables.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import { UnexecError } from '../../errors.ts';
import type { FoundPointers, PointerSearch } from '../restart/found-pointers.ts';

const MOST_REASONS = 50;

/**
 * @param isPrepared whether the program has a reserve
 * @throws UnexecError `HEAP_NOT_KEPT`
 */
export function refuseHeap(
  path: string,
  { ranges, nameOf }: Pick<PointerSearch, 'ranges' | 'nameOf'>,
  { outward, outsideNames }: FoundPointers,
  isPrepared: boolean,
): void {
  const words = ranges.flatMap(({ index, address }) => {
    const { offsets = [], modules = [], targets = [] } = outward.get(index) ?? {};
    return Array.from(offsets, (offset, i) => ({
      place: nameOf(address + BigInt(offset)),
      into: outsideNames[modules[i] ?? -1] ?? '',
      target: targets[i] ?? 0,
    })).filter(({ into }) => isHeap(into));
  });
  if (words.length === 0) return;
  throw new UnexecError(
    'HEAP_NOT_KEPT',
    `${path} has ${words.length} pointers into a heap that a dump does not have`,
    {
      path,
      hint: isPrepared
        ? 'link malloc from the runtime (unexec-runtime.c): this heap is of another allocator'
        : "link unexec's runtime (unexec-runtime.c), and give the program a reserve: unexec prepare",
      reasons: words.slice(0, MOST_REASONS).map(({ place, into, target }) => ({
        code: 'HEAP_POINTER',
        what: `${place} leads to ${into}+${hex(target)}`,
        remedy: 'allocate it in the reserve, or clear the variable before the freeze',
      })),
    },
  );
}

/** The brk heap, and mappings without a name, in which allocators have the rest. */
const isHeap = (name: string): boolean =>
  name === '[heap]' || name.startsWith('memory at ') || name.startsWith('[anon:');
