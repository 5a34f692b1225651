/**
 * What is at a place of a map: all that can be said without the symbols.
 *
 * @module
 */
import { formatBytes } from '../format-bytes.ts';
import { PATTERN_MEANINGS, patternOf } from './drawing.ts';
import type { MapData } from './map-data.ts';
import { pieceAt, positionAt, type View } from './view.ts';

export interface PlaceFacts {
  /** Index of the image; 0 for what belongs to a fat file itself. */
  readonly image: number;
  readonly name: string;
  readonly address: bigint | undefined;
  readonly offset: number | undefined;
  /** Label and value, in order, for people. */
  readonly rows: readonly (readonly [string, string])[];
}

/** Undefined where there is nothing. */
export function placeFacts(data: MapData, view: View, place: number): PlaceFacts | undefined {
  const at = positionAt(view, place);
  const piece = pieceAt(view, place);
  if (at === undefined || piece === undefined) return undefined;
  const { position, strip } = at;
  const part = view.order === 'file' ? data.parts[piece.part] : data.images[strip.image]?.memory[piece.part];
  if (part === undefined) return undefined;
  const image = ('image' in part ? part.image : strip.image) ?? 0;
  const first = view.order === 'file' ? BigInt(part.offset ?? 0) : (part.address ?? 0n);
  const into = Number(position - first);
  const address = part.address === undefined ? undefined : part.address + BigInt(into);
  const offset = part.offset === undefined ? undefined : part.offset + into;
  const pattern = patternOf(piece);
  const elided = pattern === 'zero' && data.images[image]?.elides === true ? ', a hole of the file' : '';
  const state =
    pattern === 'solid' || pattern === part.kind ? '' : ` (${PATTERN_MEANINGS[pattern]}${elided})`;
  const { arch } = data.images[image] ?? { arch: '' };
  const rows: [string, string][] = [[KINDS[part.kind], `${part.name}${state}`]];
  if (data.images.length > 1 && arch !== '') rows.push(['Slice', arch]);
  if (address !== undefined) rows.push(['Address', hex(address)]);
  if (offset !== undefined) rows.push(['File offset', hex(offset)]);
  rows.push(['From its start', `${hex(into)} of ${formatBytes(part.size)}`]);
  if (part.protection !== undefined) rows.push(['Protection', part.protection]);
  return { image, name: part.name, address, offset, rows };
}

const KINDS = {
  header: 'Header',
  section: 'Section',
  segment: 'Segment',
  linkedit: 'Table',
  note: 'Note',
  gap: 'Gap',
} as const;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
