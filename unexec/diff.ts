/**
 * Compares two images, or a running process and an image: by region and page, by symbol, and by what their words
 * are. The report is plain JSON (diff/model.ts).
 *
 * @module
 */
import { type AreaWords, compareWords, type ToldWord } from './diff/changed-words.ts';
import { comparePages, type PageComparison } from './diff/compare-pages.ts';
import { openFileSide } from './diff/file-side.ts';
import type { DiffRegion, DiffReport, DiffWord, PageCounts, WordCounts } from './diff/model.ts';
import { type AreaPair, pairAreas } from './diff/pair-areas.ts';
import { processSide } from './diff/process-side.ts';
import { diffFields, diffParts, diffSteps, isSameFile } from './diff/rest-of-file.ts';
import { protectionOf, type Side } from './diff/side.ts';
import { type AreaPlace, SymbolSums } from './diff/symbol-sums.ts';
import { UnexecError } from './errors.ts';
import { parseFreezePoint } from './freeze-point.ts';
import { openSource } from './sources/open-source.ts';

export interface DiffOptions {
  /** At most so many symbols, and words that are no moved pointers, are listed (default: 1000 each). */
  readonly listed?: number;
  /** Called with the bytes that have been looked at, and all that there are. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Ends the comparison. */
  readonly signal?: AbortSignal;
}

const LISTED = 1000;

/** What is compared: the file at a path, or a process, which stands still meanwhile and goes on afterwards. */
export type DiffSource = string | { readonly pid: number };

/**
 * Compares two files, or processes.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `DIFF_FAT`, `UNSUPPORTED_ARCH`, `DIFF_ARCH` for two architectures, `BAD_RANGES`; with
 *   the code of the FormatError for a file that makes no sense; as an attach does for a process
 */
export async function diff(
  sourceA: DiffSource,
  sourceB: DiffSource,
  options: DiffOptions = {},
): Promise<DiffReport> {
  const a = await openSide(sourceA, options);
  try {
    const b = await openSide(sourceB, options);
    try {
      return await compareSides(a, b, options);
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}

async function compareSides(a: Side, b: Side, options: DiffOptions): Promise<DiffReport> {
  if (a.arch !== b.arch) {
    const message = `${a.told.path} is for ${a.told.arch} and ${b.told.path} for ${b.told.arch}, expected the same`;
    throw new UnexecError('DIFF_ARCH', message, {
      hint: 'memory of two architectures has nothing in common',
    });
  }
  const pairs = pairAreas(a.areas, b.areas, a.told.source === 'file' ? 'a' : 'b');
  const onBytes = progress(pairs, options);
  const compared: { readonly pair: AreaPair; readonly pages: PageComparison }[] = [];
  for (const pair of pairs) {
    // Lets a signal be noticed between two regions.
    await new Promise(setImmediate);
    compared.push({ pair, pages: comparePages(pair, a, b, onBytes) });
  }
  const both = compared.flatMap(({ pair: { a: area }, pages: { common, changed } }) =>
    area === undefined || common === undefined ? [] : [{ area, common, changed }],
  );
  const words = compareWords(both, a, b);
  const wordsAt = new Map(both.map(({ area }, i) => [area, words.areas[i]]));
  const sums = new SymbolSums(a.symbols(), b.symbols());
  const regions = compared.map(({ pair, pages }) => {
    const found = pair.a === undefined ? undefined : wordsAt.get(pair.a);
    sumUp(sums, pair, pages, found);
    return regionOf(pair, pages, found);
  });
  const limit = options.listed ?? LISTED;
  const files = a.file !== undefined && b.file !== undefined ? { a: a.file, b: b.file } : undefined;
  const report = {
    version: 1 as const,
    a: a.told,
    b: b.told,
    pages: sumPages(regions),
    words: sumWords(regions),
    regions,
    symbols: sums.biggest(limit),
    unexplained: words.words.slice(0, limit).map(word => wordOf(word, sums)),
    fields: diffFields(a.manifest, b.manifest),
    steps: diffSteps(a.steps, b.steps),
    parts: files === undefined ? [] : diffParts(files.a, files.b),
  };
  return { ...report, same: isSame(report) && (!files || isSameFile(files.a.source, files.b.source)) };
}

/** @throws as `openFileSide`; as `openSource` for a process */
async function openSide(source: DiffSource, { signal }: DiffOptions): Promise<Side> {
  if (typeof source === 'string') return openFileSide(source);
  const options = signal === undefined ? {} : { signal };
  const opening = { options, point: parseFreezePoint('now'), say: () => {} };
  return processSide(await openSource(source, opening));
}

function progress(pairs: readonly AreaPair[], { onProgress, signal }: DiffOptions) {
  const size = pairs.reduce((sum, { a, b }) => sum + Math.max(a?.size ?? 0, b?.size ?? 0), 0);
  let done = 0;
  return (bytes: number): void => {
    signal?.throwIfAborted();
    done += bytes;
    onProgress?.(Math.min(done, size), size);
  };
}

function regionOf({ a, b }: AreaPair, { pages }: PageComparison, words: AreaWords | undefined): DiffRegion {
  const area = a ?? b;
  return {
    name: area?.name ?? '',
    kind: area?.kind ?? '',
    protection: area === undefined ? '' : protectionOf(area),
    addressA: a === undefined ? null : hexOf(a.start),
    addressB: b === undefined ? null : hexOf(b.start),
    sizeA: a?.size ?? 0,
    sizeB: b?.size ?? 0,
    pages,
    words: { moved: words?.moved.length ?? 0, unexplained: words?.unexplained.length ?? 0 },
    kinds: words?.kinds ?? {},
  };
}

const WORD = 8;

function sumUp(
  sums: SymbolSums,
  { a, b }: AreaPair,
  { onlyA, onlyB, common }: PageComparison,
  words: AreaWords | undefined,
): void {
  const region = (a ?? b)?.name ?? '';
  const place: AreaPlace = { region, startA: common?.startA ?? a?.start, startB: common?.startB ?? b?.start };
  for (const offset of words?.moved ?? []) sums.add(place, offset, WORD, 'moved');
  for (const offset of words?.unexplained ?? []) sums.add(place, offset, WORD, 'changed');
  for (const { start, size } of onlyA) {
    sums.add(place, Number(start - (place.startA ?? start)), size, 'onlyA');
  }
  for (const { start, size } of onlyB) {
    sums.add(place, Number(start - (place.startB ?? start)), size, 'onlyB');
  }
}

function wordOf({ range, offset, value1, value2, diagnosis }: ToldWord, sums: SymbolSums): DiffWord {
  const { symbol } = sums.find({ region: range.name, startA: range.start1, startB: range.start2 }, offset);
  return {
    region: range.name,
    symbol: symbol === undefined ? null : { name: symbol.name, offset: symbol.into },
    addressA: hexOf(range.start1 + BigInt(offset)),
    addressB: hexOf(range.start2 + BigInt(offset)),
    valueA: hexOf(value1),
    valueB: hexOf(value2),
    ...diagnosis,
  };
}

function sumPages(regions: readonly DiffRegion[]): PageCounts {
  const sum = (key: keyof PageCounts): number => regions.reduce((total, { pages }) => total + pages[key], 0);
  return {
    same: sum('same'),
    changed: sum('changed'),
    zero: sum('zero'),
    onlyA: sum('onlyA'),
    onlyB: sum('onlyB'),
    left: sum('left'),
  };
}

function sumWords(regions: readonly DiffRegion[]): WordCounts {
  const sum = (key: keyof WordCounts): number => regions.reduce((total, { words }) => total + words[key], 0);
  return { moved: sum('moved'), unexplained: sum('unexplained') };
}

function isSame({ pages, fields, steps, parts, regions }: Omit<DiffReport, 'same'>): boolean {
  return (
    pages.changed + pages.onlyA + pages.onlyB === 0 &&
    regions.every(
      ({ addressA, addressB, sizeA, sizeB }) => addressA !== null && addressB !== null && sizeA === sizeB,
    ) &&
    fields.length === 0 &&
    parts.length === 0 &&
    (steps === null || steps.changed.length + steps.onlyA.length + steps.onlyB.length === 0)
  );
}

const hexOf = (value: bigint): `0x${string}` => `0x${value.toString(16)}`;
