/**
 * An image with its lookups: what the description of each format has in common.
 *
 * @module
 */
import { stretchAt } from './cover.ts';
import type { ImageDescription, MemoryPart, Part } from './model.ts';
import { type RawSymbol, SymbolIndex } from './symbols.ts';

/** What a format knows of an image. */
export type DescribedImage = Pick<
  ImageDescription,
  'format' | 'kind' | 'arch' | 'offset' | 'size' | 'segments' | 'sections' | 'memory'
> & {
  readonly parts: readonly Part[];
  /** Its symbols are at offsets, not at addresses. */
  readonly isRelocatable: boolean;
  /** In any order; positions are offsets in a relocatable, otherwise addresses. */
  readonly readSymbols: () => readonly RawSymbol[];
};

/** The description that is public. */
export function imageOf(described: DescribedImage): ImageDescription {
  const { parts, isRelocatable, readSymbols, ...facts } = described;
  const partAt = (offset: number): Part | undefined =>
    stretchAt(parts, offset, part => [part.offset, part.offset + part.size]);
  const memoryAt = (address: bigint): MemoryPart | undefined =>
    stretchAt(facts.memory, address, part => [part.address, part.address + BigInt(part.size)]);
  const addressOf = (offset: number): bigint | undefined => {
    const part = partAt(offset);
    return part?.address === undefined ? undefined : part.address + BigInt(offset - part.offset);
  };
  const offsetOf = (address: bigint): number | undefined => {
    const part = memoryAt(address);
    return part?.offset === undefined ? undefined : part.offset + Number(address - part.address);
  };
  const index = new SymbolIndex({
    read: readSymbols,
    endOf(position) {
      if (isRelocatable) {
        const part = partAt(Number(position));
        return part && BigInt(part.offset + part.size);
      }
      const part = memoryAt(position);
      return part && part.address + BigInt(part.size);
    },
    addressOf: position => (isRelocatable ? undefined : position),
    offsetOf: position => (isRelocatable ? Number(position) : offsetOf(position)),
  });
  return {
    ...facts,
    addressOf,
    offsetOf,
    symbolAt: address => (isRelocatable ? undefined : index.at(address)),
    symbolAtOffset(offset) {
      const position = isRelocatable ? BigInt(offset) : addressOf(offset);
      return position === undefined ? undefined : index.at(position);
    },
    findSymbols: (text, limit = 100) => index.find(text, limit),
    symbols: () => index.all(),
  };
}
