/**
 * Follows an address: what is there, by every name that the file has for it, and the bytes around it.
 *
 * @module
 */
import {
  type ByteSource,
  describeFile,
  type ImageDescription,
  type MemoryPart,
} from '../../formats/describe/index.ts';
import { readElf } from '../../formats/elf/index.ts';
import {
  type CompressedStretch,
  compressedBlocks,
  compressedStretches,
  StretchSource,
} from '../compressed-memory.ts';
import { UnexecError } from '../errors.ts';
import { openRegularFile } from '../file-source.ts';
import { symbolIn } from './frozen.ts';
import type { Address, AddressPlace, AddressReport } from './model.ts';
import { notesOfElf } from './notes.ts';

/** Bytes of a line, and lines before and after the one with the address. */
const LINE = 16n;
const BEFORE = 3n;
const AFTER = 4n;

/**
 * What is at an address of the file at `path`; addresses are those that the file itself gives, of a frozen process
 * those of the process.
 *
 * @throws UnexecError `FILE_UNREADABLE`; `ADDRESS_NOT_IN_FILE` with what addresses there are; FormatError for a file
 *   that makes no sense
 */
export function followAddress(path: string, address: bigint): AddressReport {
  const source = openRegularFile(path);
  try {
    const { images } = describeFile(source);
    const places = images.flatMap(image => placeIn(source, image, address));
    if (places.length === 0) throw notInFile(path, address, images);
    return { version: 1, path, address: hexOf(address), places };
  } finally {
    source.close();
  }
}

function placeIn(source: ByteSource, image: ImageDescription, address: bigint): AddressPlace[] {
  const part = partAt(image, address);
  if (part === undefined) return [];
  const segment = part.segment === undefined ? undefined : image.segments[part.segment];
  const section = part.section === undefined ? undefined : image.sections[part.section];
  return [
    {
      arch: image.arch,
      region: image.kind === 'image' ? regionAt(source, address) : null,
      segment: segment ? { name: segment.name, address: hexOf(segment.address) } : null,
      section:
        section?.address === undefined ? null : { name: section.name, address: hexOf(section.address) },
      what: `${part.kind} ${part.name}`,
      protection: part.protection,
      symbol: symbolIn(image, address),
      offset: image.offsetOf(address) ?? null,
      backing: part.backing,
      bytes: linesAround(source, image, address),
    },
  ];
}

const endOf = ({ address, size }: MemoryPart): bigint => address + BigInt(size);

const partAt = (image: ImageDescription, address: bigint): MemoryPart | undefined =>
  image.memory.find(part => address >= part.address && address < endOf(part));

/** Of a process, its own word for the region. @throws FormatError `MANIFEST_MALFORMED` */
function regionAt(source: ByteSource, address: bigint): AddressPlace['region'] {
  const regions = notesOfElf(readElf(source))?.manifest.objects('regions') ?? [];
  for (const region of regions) {
    const start = region.bigAddress('start');
    if (address < start || address >= start + BigInt(region.whole('size'))) continue;
    return { kind: region.text('kind'), name: region.text('name'), address: hexOf(start) };
  }
  return null;
}

/** Lines with at least one byte that is in memory. */
function linesAround(source: ByteSource, image: ImageDescription, address: bigint): AddressPlace['bytes'] {
  const own = address - (address % LINE);
  const first = own > BEFORE * LINE ? own - BEFORE * LINE : 0n;
  const end = own + (AFTER + 1n) * LINE;
  const window = bytesIn(source, image, stretchesOf(source, image), first, end);
  const lines: { address: Address; hex: string; text: string }[] = [];
  for (let at = 0; at < window.length; at += Number(LINE)) {
    const line = window.slice(at, at + Number(LINE));
    if (line.every(byte => byte === 'outside')) continue;
    lines.push({
      address: hexOf(first + BigInt(at)),
      hex: line
        .map(byte => (typeof byte === 'number' ? byte.toString(16).padStart(2, '0') : MARK[byte]))
        .join(' '),
      text: line.map(byte => (typeof byte === 'number' ? letter(byte) : ' ')).join(''),
    });
  }
  return lines;
}

/** Compressed memory of an image. @throws FormatError `BLOCKS_MALFORMED` */
const stretchesOf = (source: ByteSource, image: ImageDescription): CompressedStretch[] =>
  image.kind === 'image' ? compressedStretches(compressedBlocks(readElf(source))) : [];

const MARK = { absent: '??', outside: '  ' } as const;

const letter = (byte: number): string => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.');

function bytesIn(
  source: ByteSource,
  { memory }: ImageDescription,
  stretches: readonly CompressedStretch[],
  first: bigint,
  end: bigint,
): (number | 'absent' | 'outside')[] {
  const window = new Array<number | 'absent' | 'outside'>(Number(end - first)).fill('outside');
  for (const part of memory) {
    const from = part.address > first ? part.address : first;
    const to = endOf(part) < end ? endOf(part) : end;
    if (to <= from) continue;
    const size = Number(to - from);
    const into = Number(from - part.address);
    const bytes =
      part.backing === 'file' && part.offset !== undefined
        ? source.read(part.offset + into, size)
        : new Uint8Array(size);
    const at = Number(from - first);
    for (const [i, byte] of bytes.entries()) window[at + i] = part.backing === 'absent' ? 'absent' : byte;
  }
  for (const stretch of stretches) {
    const start = stretch.address;
    const from = start > first ? start : first;
    const to = start + BigInt(stretch.size) < end ? start + BigInt(stretch.size) : end;
    if (to <= from) continue;
    const bytes = new StretchSource(source, stretch).read(Number(from - start), Number(to - from));
    for (const [i, byte] of bytes.entries()) window[Number(from - first) + i] = byte;
  }
  return window;
}

function notInFile(path: string, address: bigint, images: readonly ImageDescription[]): UnexecError {
  const memory = images.flatMap(image => image.memory);
  const message = `${path} has nothing at ${hexOf(address)}`;
  const below = memory.findLast(part => part.address <= address);
  const above = memory.find(part => part.address > address);
  const near = [
    below && `${below.name} ends at ${hexOf(endOf(below))}`,
    above && `${above.name} begins at ${hexOf(above.address)}`,
  ].filter(text => text !== undefined);
  const hint =
    near.length > 0 ? near.join(', ') : 'a relocatable has no addresses: they are given when it is linked';
  return new UnexecError('ADDRESS_NOT_IN_FILE', message, { path, hint });
}

const hexOf = (address: bigint): Address => `0x${address.toString(16)}`;
