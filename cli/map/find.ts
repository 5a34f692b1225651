/**
 * Finds addresses, offsets and sections on a map. Symbols are found elsewhere: there may be hundreds of thousands.
 *
 * @module
 */
import type { MemoryPart } from '../../formats/describe/index.ts';
import type { MapData } from './map-data.ts';

/** Something that was found, and where. */
export interface FoundItem {
  /** For people. */
  readonly text: string;
  /** Index of the image. */
  readonly image: number;
  readonly address: bigint | undefined;
  readonly offset: number | undefined;
}

/** What a number may mean: an address in each image that has memory there, and an offset in the file. */
export function findNumber(data: MapData, number: bigint): FoundItem[] {
  const hex = `0x${number.toString(16)}`;
  const items: FoundItem[] = [];
  for (const [image, { arch }] of data.images.entries()) {
    const part = memoryAt(data, image, number);
    if (part === undefined) continue;
    const slice = data.images.length > 1 ? ` in ${arch}` : '';
    const text = `Address ${hex}${slice}: ${part.name}`;
    items.push({ text, image, address: number, offset: offsetOf(data, image, number) });
  }
  const part = data.parts.find(
    ({ offset, size }) => number >= BigInt(offset) && number < BigInt(offset + size),
  );
  if (part === undefined) return items;
  const address = part.address === undefined ? undefined : part.address + (number - BigInt(part.offset));
  const text = `File offset ${hex}: ${part.name}`;
  return [...items, { text, image: part.image ?? 0, address, offset: Number(number) }];
}

/** Sections whose name contains the text, whatever the case; those without bytes in the file, too. */
export function findSections(data: MapData, text: string, limit = 10): FoundItem[] {
  const wanted = text.toLowerCase();
  const inFile = data.parts.map(({ image = 0, ...part }) => ({ ...part, image }));
  const inMemory = data.images.flatMap(({ memory }, image) =>
    memory.filter(({ backing }) => backing !== 'file').map(part => ({ ...part, image })),
  );
  return [...inFile, ...inMemory]
    .filter(({ kind, name }) => kind !== 'gap' && name.toLowerCase().includes(wanted))
    .slice(0, limit)
    .map(({ name, image, address, offset }) => ({ text: `Section ${name}`, image, address, offset }));
}

/** Where in the file the byte at an address is. */
export function offsetOf(data: MapData, image: number, address: bigint | undefined): number | undefined {
  if (address === undefined) return undefined;
  const part = memoryAt(data, image, address);
  return part?.offset === undefined ? undefined : part.offset + Number(address - part.address);
}

const memoryAt = (data: MapData, image: number, wanted: bigint): MemoryPart | undefined =>
  data.images[image]?.memory.find(
    ({ address, size }) => wanted >= address && wanted < address + BigInt(size),
  );
