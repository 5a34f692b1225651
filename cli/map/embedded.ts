/**
 * The data of a page, as it lies within it: JSON, in which addresses are strings of digits. There it is compressed and
 * in base64; how that is done depends on where one is.
 *
 * @module
 */
import type { ImageDescription, SymbolDescription } from '../../formats/describe/index.ts';
import type { MapData } from './map-data.ts';

/** The symbols of an image, ascending by address, or by offset in a relocatable. */
export interface SymbolTable {
  readonly isRelocatable: boolean;
  readonly names: readonly string[];
  /** From the one before: such small numbers compress well. */
  readonly distances: readonly number[];
  readonly sizes: readonly number[];
  readonly types: readonly SymbolDescription['type'][];
}

export interface Embedded {
  readonly map: MapData;
  /** One table an image. */
  readonly symbols: readonly SymbolTable[];
}

/** @throws FormatError for a symbol table that makes no sense */
export function symbolTableOf({ format, kind, symbols }: ImageDescription): SymbolTable {
  const isRelocatable = format === 'ELF' && kind === 'relocatable';
  const table = { isRelocatable, names: [] as string[], distances: [] as number[], sizes: [] as number[] };
  const types: SymbolDescription['type'][] = [];
  let before = 0n;
  for (const { name, address, offset, size, type } of symbols()) {
    const position = isRelocatable ? BigInt(offset ?? 0) : (address ?? 0n);
    table.names.push(name);
    table.distances.push(Number(position - before));
    table.sizes.push(size);
    types.push(type);
    before = position;
  }
  return { ...table, types };
}

/** The map alone: it is drawn before the symbols are looked at, of which there may be hundreds of thousands. */
export const encodeMap = (map: MapData): string =>
  JSON.stringify(map, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));

/** The opposite. The data is our own: it is not looked at whether it is sound. */
export const decodeMap = (text: string): MapData =>
  JSON.parse(text, (key, value: unknown) =>
    key === 'address' && typeof value === 'string' ? BigInt(value) : value,
  );

export const encodeSymbols = (tables: readonly SymbolTable[]): string => JSON.stringify(tables);
export const decodeSymbols = (text: string): readonly SymbolTable[] => JSON.parse(text);
