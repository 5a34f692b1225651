/**
 * From claims to lists: the parts of a file and of its memory, whatever the format.
 *
 * @module
 */
import type { ByteSource } from '../source.ts';
import { type Claim, cover, stretchAt } from './cover.ts';
import type { MemoryPart, Part, PartKind } from './model.ts';

/** Who wins where several claim the same bytes. */
export const RANK = { HEADER: 0, SECTION: 1, NOTE: 2, LINKEDIT: 3, SPECIAL_SEGMENT: 4, SEGMENT: 5 } as const;

/** What a claim says of a stretch of the file. */
export interface FileClaim {
  readonly kind: PartKind;
  readonly name: string;
  /** Of the claim's first byte, where it knows. */
  readonly address?: bigint | undefined;
  readonly protection?: string | undefined;
  readonly section?: number | undefined;
}

/** A segment that is loaded, for everything that does not know its own address. */
export interface LoadedRange {
  readonly index: number;
  readonly offset: number;
  readonly fileSize: number;
  readonly address: bigint;
  readonly memorySize: number;
  readonly protection: string;
  /** Whether it has sections: what is between them is padding. */
  readonly hasSections: boolean;
}

/** Finds the loaded segment of an offset and of an address. */
export class LoadedRanges {
  readonly #byOffset: ReturnType<typeof cover<number, LoadedRange>>;
  readonly #byAddress: ReturnType<typeof cover<bigint, LoadedRange>>;

  constructor(ranges: readonly LoadedRange[]) {
    this.#byOffset = cover(
      ranges.map(range => ({
        start: range.offset,
        end: range.offset + range.fileSize,
        rank: 0,
        value: range,
      })),
    );
    this.#byAddress = cover(
      ranges.map(range => ({
        start: range.address,
        end: range.address + BigInt(range.memorySize),
        rank: 0,
        value: range,
      })),
    );
  }

  atOffset(offset: number): LoadedRange | undefined {
    return stretchAt(this.#byOffset, offset, ({ start, end }) => [start, end])?.claim.value;
  }

  atAddress(address: bigint): LoadedRange | undefined {
    return stretchAt(this.#byAddress, address, ({ start, end }) => [start, end])?.claim.value;
  }
}

/** Padding between sections is at most so long. */
const PADDING = 0x1000;
/** So much is looked at to tell padding from contents. */
const MAX_ZEROS = 0x1_0000;

/**
 * The parts of an image: what is claimed, and gaps for the rest. Claims may go beyond the end of the image; `source`
 * is the image, `start` where in the file it is.
 */
export function partsOf(
  source: ByteSource,
  claims: readonly Claim<number, FileClaim>[],
  loaded: LoadedRanges,
  start: number,
  image: number,
): Part[] {
  const within = claims.map(claim => ({
    ...claim,
    start: Math.min(claim.start, source.size),
    end: Math.min(claim.end, source.size),
  }));
  const parts: Part[] = [];
  let position = 0;
  const gap = (end: number): void => {
    if (end > position) parts.push(partOf(position, end, { kind: 'gap', name: 'padding' }));
  };
  for (const { start: from, end, claim } of cover(within)) {
    gap(from);
    const { value } = claim;
    // Where a part lies within its claim.
    const address = value.address === undefined ? undefined : value.address + BigInt(from - claim.start);
    parts.push(partOf(from, end, { ...value, address }));
    position = end;
  }
  gap(source.size);
  return parts;

  function partOf(from: number, end: number, claim: FileClaim): Part {
    const range = loaded.atOffset(from);
    const isPadding =
      claim.kind === 'segment' && range?.hasSections === true && looksLikePadding(source, from, end - from);
    const inSegment = range && range.address + BigInt(from - range.offset);
    return {
      kind: isPadding ? 'gap' : claim.kind,
      name: isPadding ? 'padding' : claim.name,
      offset: start + from,
      size: end - from,
      address: claim.address ?? inSegment,
      protection: claim.protection ?? range?.protection,
      section: claim.section,
      segment: range?.index,
      image,
    };
  }
}

/** Less than a page, or zeros. */
const looksLikePadding = (source: ByteSource, offset: number, size: number): boolean =>
  size < PADDING || (size <= MAX_ZEROS && source.read(offset, size).every(byte => byte === 0));

/** What a claim says of a stretch of memory. */
export type MemoryClaim = Omit<MemoryPart, 'address' | 'size' | 'kind'> & { readonly kind: PartKind };

/** The parts of memory; `start` is where in the file the image is, offsets of claims are the image's. */
export const memoryOf = (claims: readonly Claim<bigint, MemoryClaim>[], start: number): MemoryPart[] =>
  cover(claims).map(({ start: address, end, claim }) => ({
    ...claim.value,
    address,
    size: Number(end - address),
    offset:
      claim.value.offset === undefined
        ? undefined
        : start + claim.value.offset + Number(address - claim.start),
  }));

/** `r-x`. */
export const protectionOf = (read: boolean, write: boolean, execute: boolean): string =>
  `${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}`;
