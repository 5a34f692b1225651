/**
 * The memory of a frozen file by region: what of it is stored, zero, or comes from elsewhere.
 *
 * @module
 */
import {
  type ByteSource,
  findZeroPages,
  type ImageDescription,
  isZeroPage,
  type MemoryPart,
  PAGE_SIZE,
} from '../../formats/describe/index.ts';
import { FormatError } from '../../formats/errors.ts';
import { SourceSlice } from '../../formats/source.ts';
import type { MallocZone } from '../zones.ts';
import type { Fields } from './fields.ts';
import type { InspectedRegion, RegionBytes, RegionSum } from './model.ts';

/** Kinds of region that the kernel maps by itself. */
const KERNEL: ReadonlySet<string> = new Set(['vdso', 'vvar', 'vsyscall']);

/**
 * Regions of a process, as its manifest has them.
 *
 * `mapped`: paths of the files that the restore program maps again; `objects`: bytes that the file has for shared
 * memory without a name in the file system, by name, of all mappings of it together.
 */
export function processRegions(
  manifest: Fields,
  mapped: ReadonlySet<string>,
  objects: ReadonlyMap<string, number>,
): InspectedRegion[] {
  const left = new Map(objects);
  return manifest.objects('regions').map(region => {
    const kind = region.text('kind');
    const name = region.text('name');
    const size = region.whole('size');
    const permissions = region.text('permissions');
    const isShared = permissions.endsWith('s');
    let stored = Math.min(size, region.whole('stored'));
    const isMapped = isShared && stored === 0 && mapped.has(name);
    if (isShared && stored === 0 && !isMapped) {
      stored = Math.min(size, left.get(name) ?? 0);
      // Counted once, however often it is mapped.
      left.set(name, (left.get(name) ?? 0) - stored);
    }
    const kernel = KERNEL.has(kind) ? size : 0;
    const inFile = region.has('inFile') ? Math.min(size - stored, region.whole('inFile')) : 0;
    const sharedWithFile = isMapped ? size : inFile;
    const zero = size - stored - kernel - sharedWithFile;
    return {
      address: region.address('start'),
      kind,
      protection: permissions,
      name,
      ...{ size, stored, zero: Math.max(0, zero), sharedWithFile, kernel },
    };
  });
}

/**
 * Regions of a program or a library: each of its segments, cut where a zone begins and ends. Reads what the file
 * has of them, for pages of zeros.
 */
export function loadedRegions(
  image: ImageDescription,
  zones: readonly MallocZone[],
  source: ByteSource,
): InspectedRegion[] {
  const regions: (InspectedRegion & { readonly segment: number | undefined })[] = [];
  const ascending = [...zones].sort((a, b) => (a.base < b.base ? -1 : 1));
  const endOfZone = ({ base, size }: MallocZone): bigint => base + BigInt(size);
  // Segments of a hostile file may all be the same bytes.
  let left = 2 * source.size;
  let first = 0;
  for (const part of image.memory) {
    for (let zone = ascending[first]; zone && endOfZone(zone) <= part.address; zone = ascending[first])
      first++;
    for (const piece of cutAtZones(part, ascending, first)) {
      const bytes = bytesOf(piece, source);
      left -= piece.backing === 'file' ? piece.size : 0;
      if (left < 0) {
        const message = 'the segments have more bytes in the file than it has, expected each byte once';
        throw new FormatError('SEGMENTS_OVERLAP', message, { value: piece.address });
      }
      const last = regions.at(-1);
      const kind = kindOf(piece);
      const isSame = last?.segment === piece.segment && last?.kind === kind && endOf(last) === piece.address;
      if (last !== undefined && isSame) {
        regions[regions.length - 1] = { ...last, ...sum([last, bytes]) };
        continue;
      }
      const segment = piece.segment === undefined ? undefined : image.segments[piece.segment];
      regions.push({
        address: `0x${piece.address.toString(16)}`,
        kind,
        protection: piece.protection,
        name: segment?.name ?? piece.name,
        segment: piece.segment,
        ...bytes,
      });
    }
  }
  return regions.map(({ segment: _, ...region }) => region);
}

/** Summed up by kind, the largest first. */
export function sumByKind(regions: readonly InspectedRegion[]): RegionSum[] {
  const kinds = new Map<string, InspectedRegion[]>();
  for (const region of regions) {
    const members = kinds.get(region.kind);
    if (members === undefined) kinds.set(region.kind, [region]);
    else members.push(region);
  }
  return [...kinds]
    .map(([kind, members]) => ({ kind, count: members.length, ...sum(members) }))
    .sort((a, b) => b.size - a.size);
}

interface Piece
  extends Pick<MemoryPart, 'address' | 'size' | 'offset' | 'backing' | 'protection' | 'segment'> {
  readonly name: string;
  readonly inZone: boolean;
}

/** The part, or what of it is in each zone, from the `first` on, and between them. */
function cutAtZones(part: MemoryPart, zones: readonly MallocZone[], first: number): Piece[] {
  const end = part.address + BigInt(part.size);
  const pieces: Piece[] = [];
  const add = (from: bigint, to: bigint, inZone: boolean): void => {
    if (to <= from) return;
    const into = Number(from - part.address);
    const offset = part.offset === undefined ? undefined : part.offset + into;
    pieces.push({ ...part, address: from, size: Number(to - from), offset, inZone });
  };
  let at = part.address;
  for (let i = first; i < zones.length; i++) {
    const zone = zones[i];
    if (zone === undefined || zone.base >= end) break;
    const zoneEnd = zone.base + BigInt(zone.size);
    // biome-ignore lint/complexity/useMathMinMax: not for bigint
    const from = zone.base > at ? zone.base : at;
    const to = zoneEnd < end ? zoneEnd : end;
    if (to <= from) continue;
    add(at, from, false);
    add(from, to, true);
    at = to;
  }
  add(at, end, false);
  return pieces;
}

function kindOf({ inZone, protection }: Piece): string {
  if (inZone) return 'heap';
  if (protection.includes('x')) return 'code';
  return protection.includes('w') ? 'variables' : 'constants';
}

function bytesOf({ size, backing, offset }: Piece, source: ByteSource): RegionBytes {
  const none = { size, sharedWithFile: 0, kernel: 0 };
  if (backing !== 'file' || offset === undefined) return { ...none, stored: 0, zero: size };
  const zero = zeroBytes(new SourceSlice(source, offset, Math.min(size, source.size - offset)));
  return { ...none, stored: size - zero, zero };
}

/** Bytes of pages that are zero. */
function zeroBytes(source: ByteSource): number {
  const pages = findZeroPages(source);
  let bits: Uint8Array = new Uint8Array(0);
  for (let step = pages.next(); ; step = pages.next()) {
    if (step.done === true) {
      bits = step.value;
      break;
    }
  }
  let zero = 0;
  for (let page = 0; page * PAGE_SIZE < source.size; page++) {
    if (isZeroPage(bits, page)) zero += Math.min(PAGE_SIZE, source.size - page * PAGE_SIZE);
  }
  return zero;
}

const endOf = ({ address, size }: InspectedRegion): bigint => BigInt(address) + BigInt(size);

function sum(all: readonly RegionBytes[]): RegionBytes {
  const total = { size: 0, stored: 0, zero: 0, sharedWithFile: 0, kernel: 0 };
  for (const bytes of all) {
    total.size += bytes.size;
    total.stored += bytes.stored;
    total.zero += bytes.zero;
    total.sharedWithFile += bytes.sharedWithFile;
    total.kernel += bytes.kernel;
  }
  return total;
}
