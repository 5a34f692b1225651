/**
 * The pointers in what is dumped: by comparison where there are two runs, else by a scan. Gives the slots of
 * each segment, the words that lead out of the program, and what a user should know of the rest.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import { type MachOFile, segmentsOf } from '../../../formats/macho/index.ts';
import type { MemoryImage } from '../../image.ts';
import { joinStretches, type Stretch } from '../../macho/stretches.ts';
import { comparePointers, type OutwardSlots, scanPointers } from '../../pointers.ts';
import { nameOfPlace } from './place-name.ts';
import type { DumpedSegment } from './territory.ts';

/** A run of the program: its memory, and how far it slid. */
export interface Run {
  readonly image: MemoryImage;
  readonly slide: bigint;
}

export interface FoundPointers {
  readonly method: 'comparison' | 'scan';
  /** Offsets in the segment, ascending, by index of the segment. */
  readonly slots: ReadonlyMap<number, Float64Array>;
  /** Words that are addresses of something outside of the program, by index of the segment. */
  readonly outward: ReadonlyMap<number, OutwardSlots>;
  /**
   * Words that are such addresses too, of something that did not move between two runs (macOS maps its libraries
   * once at each boot), so that they may be numbers.
   */
  readonly still: ReadonlyMap<number, OutwardSlots>;
  /** Names of what they lead to, by the index of the module. */
  readonly outsideNames: readonly string[];
  readonly counts: {
    readonly pointers: number;
    readonly outward: number;
    /** Of a scan: taken for pointers, with something against it. */
    readonly doubtful: number;
    /** Of a comparison: differ, and are no pointers. */
    readonly unexplained: number;
  };
  /** One line for each doubtful or unexplained word, up to some hundreds. */
  readonly remarks: readonly string[];
}

/** What of the segments is not looked at beside what comes from the file: room for notes, the rest of the reserve. */
export interface PointerSearch {
  readonly file: MachOFile;
  readonly dumped: readonly DumpedSegment[];
  /** By index of the segment. */
  readonly ignored: ReadonlyMap<number, readonly Stretch[]>;
  readonly first: Run;
  readonly second: Run | undefined;
  readonly onProgress?: (bytes: number) => void;
}

/** @throws UnexecError `SAME_ADDRESSES` when two runs did not slide differently */
export function findPointers(search: PointerSearch): FoundPointers {
  return search.second === undefined ? scan(search) : compare(search, search.second);
}

/** The program's segments as ranges: pointers may lead to all of them, and are searched in the dumped ones. */
function rangesOf({ file, dumped, ignored }: PointerSearch) {
  return segmentsOf(file).flatMap((segment, index) => {
    if (segment.segname === '__LINKEDIT' || segment.initprot === 0 || segment.vmsize === 0n) return [];
    const own = dumped.find(candidate => candidate.index === index);
    const size = Number(segment.vmsize);
    const skip =
      own && joinStretches([...own.kept, ...(ignored.get(index) ?? []), { start: own.size, end: size }]);
    return [
      {
        index,
        name: segment.segname,
        vmaddr: segment.vmaddr,
        size,
        searched: own !== undefined,
        skip: skip ?? [],
      },
    ];
  });
}

function compare(search: PointerSearch, second: Run): FoundPointers {
  const { first, file } = search;
  const ranges = rangesOf(search);
  const outside = pairedOutside(file, first, second);
  const found = comparePointers({
    ranges: ranges.map(({ vmaddr, ...range }) => ({
      ...range,
      start1: vmaddr + first.slide,
      start2: vmaddr + second.slide,
    })),
    image: { a: first.image, b: second.image },
    outside,
    ...(search.onProgress === undefined ? {} : { onProgress: search.onProgress }),
  });
  const { counts } = found;
  const words = [
    ...found.unexplained.map(word => ({ ...word, what: 'unexplained' })),
    ...found.biased.map(word => ({ ...word, what: 'leads outside, but moves with the program' })),
  ];
  return {
    method: 'comparison',
    slots: byIndex(ranges, found.ranges, ({ slots }) => slots),
    outward: byIndex(ranges, found.ranges, ({ outward }) => outward),
    still: byIndex(ranges, found.ranges, ({ still }) => still),
    outsideNames: outside.map(({ name }) => name),
    counts: {
      pointers: counts.pointers,
      outward: counts.outward,
      doubtful: 0,
      unexplained: counts.unexplained,
    },
    remarks: words.map(({ range, offset, value1, value2, what }) => {
      const place = nameOfPlace(file, range.start1 - first.slide + BigInt(offset));
      return `${place}: ${what}: ${hex(value1)} in one run, ${hex(value2)} in the other`;
    }),
  };
}

function scan(search: PointerSearch): FoundPointers {
  const { first, file } = search;
  const ranges = rangesOf(search);
  const outside = outsideOf(file, first);
  const found = scanPointers({
    ranges: ranges.map(({ vmaddr, ...range }) => ({ ...range, start: vmaddr + first.slide })),
    image: first.image,
    outside,
    ...(search.onProgress === undefined ? {} : { onProgress: search.onProgress }),
  });
  const { counts } = found;
  return {
    method: 'scan',
    slots: byIndex(ranges, found.ranges, ({ slots }) => slots),
    outward: byIndex(ranges, found.ranges, ({ outward }) => outward),
    still: new Map(),
    outsideNames: outside.map(({ name }) => name),
    counts: { pointers: counts.pointers, outward: counts.outward, doubtful: counts.doubtful, unexplained: 0 },
    remarks: found.doubtful.map(({ range, offset, value, into, why, taken }) => {
      const place = nameOfPlace(file, range.start - first.slide + BigInt(offset));
      return `${place}: ${hex(value)} into ${into}: ${why}${taken ? '' : '; not taken for a pointer'}`;
    }),
  };
}

function byIndex<Range, T>(
  ranges: readonly { readonly index: number; readonly searched: boolean }[],
  found: readonly Range[],
  part: (range: Range) => T,
): Map<number, T> {
  return new Map(
    ranges.flatMap(({ index, searched }, i) => {
      const range = found[i];
      return searched && range !== undefined ? [[index, part(range)] as const] : [];
    }),
  );
}

/** Everything mapped that is not the program, by its mappings. */
export function outsideOf(
  file: MachOFile,
  { image, slide }: Run,
): { name: string; start: bigint; size: number }[] {
  const own = segmentsOf(file).map(({ vmaddr, vmsize, initprot }) => ({
    start: initprot === 0 ? 0n : vmaddr + slide,
    end: initprot === 0 ? 0n : vmaddr + vmsize + slide,
  }));
  return image.regions
    .filter(({ start, size }) => !own.some(range => start < range.end && start + BigInt(size) > range.start))
    .map(({ name, start, size }) => ({ name: name === '' ? `memory at ${hex(start)}` : name, start, size }));
}

/** Mappings of both runs that are the same thing: the n-th of the same name and size. */
function pairedOutside(file: MachOFile, first: Run, second: Run) {
  const keyed = (run: Run): Map<string, { name: string; start: bigint; size: number }> => {
    const seen = new Map<string, number>();
    return new Map(
      outsideOf(file, run).map(mapping => {
        const what = run.image.regions.find(({ start }) => start === mapping.start)?.name ?? '';
        const key = `${what} ${mapping.size}`;
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
