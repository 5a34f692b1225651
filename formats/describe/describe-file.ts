/**
 * Describes a file by what it begins with: ELF, Mach-O, or several Mach-O files in one.
 *
 * @module
 */
import { wholeContents } from '../contents.ts';
import { FormatError } from '../errors.ts';
import { FAT } from '../macho/constants.ts';
import { readFat } from '../macho/fat.ts';
import { isFat, isMachO } from '../macho/header.ts';
import { fat_arch, fat_arch_64, fat_header } from '../macho/structs.ts';
import { type ByteSource, bytesSource } from '../source.ts';
import { cover } from './cover.ts';
import { describeElf } from './elf.ts';
import { type DescribedImage, imageOf } from './image.ts';
import { describeMachO } from './macho.ts';
import type { FileDescription, Part } from './model.ts';

/**
 * What the file is made of. Headers are read now; contents, symbols among them, when something asks for them.
 *
 * @throws FormatError `UNKNOWN_FORMAT` for what is neither ELF nor Mach-O; as `readElf`, `readMachO` and `readFat` do
 */
export function describeFile(source: ByteSource): FileDescription {
  const magic = source.read(0, Math.min(4, source.size));
  if (isElf(magic)) return fileOf('ELF', source, describeElf(source));
  if (isFat(magic)) return describeFat(source);
  if (isMachO(magic)) return fileOf('Mach-O', source, describeMachO(source, 0, 0));
  const found = [...magic].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
  const message = `the file begins with ${found || 'nothing'}, expected the magic of an ELF or a Mach-O file`;
  throw new FormatError('UNKNOWN_FORMAT', message, { offset: 0, value: found });
}

const isElf = (magic: Uint8Array): boolean =>
  magic.length === 4 && [0x7f, 0x45, 0x4c, 0x46].every((byte, i) => magic[i] === byte);

const fileOf = (
  format: FileDescription['format'],
  source: ByteSource,
  described: DescribedImage,
): FileDescription => ({
  format,
  size: source.size,
  parts: described.parts,
  images: [imageOf(described)],
});

/** The parts of all slices, where they do not overlap, and what is around them. */
function describeFat(source: ByteSource): FileDescription {
  const fat = readFat(source);
  const images = fat.architectures.map(({ offset = 0, contents }, index) => {
    const slice = contents instanceof Uint8Array ? bytesSource(wholeContents(contents)) : contents;
    return describeMachO(slice, offset, index);
  });
  const slices = fat.architectures.map(({ offset = 0 }, index) => {
    const image = images[index];
    return { start: offset, end: offset + (image?.size ?? 0), rank: 1, value: image };
  });
  const tableSize =
    fat_header.size +
    fat.architectures.length * (fat.magic === FAT.FAT_MAGIC_64 ? fat_arch_64.size : fat_arch.size);
  const parts: Part[] = [];
  let position = 0;
  const fill = (end: number): void => {
    if (end > position) parts.push(partOfFat('gap', 'padding', position, end));
  };
  for (const { start, end, claim } of cover([
    ...slices,
    { start: 0, end: tableSize, rank: 0, value: undefined },
  ])) {
    fill(start);
    if (claim.value === undefined) parts.push(partOfFat('header', 'fat header', start, end));
    else for (const part of cutOut(claim.value.parts, start, end)) parts.push(part);
    position = end;
  }
  fill(source.size);
  return { format: 'fat Mach-O', size: source.size, parts, images: images.map(imageOf) };
}

const partOfFat = (kind: Part['kind'], name: string, offset: number, end: number): Part => ({
  kind,
  name,
  offset,
  size: end - offset,
  address: undefined,
  protection: undefined,
  section: undefined,
  segment: undefined,
  image: undefined,
});

/** The parts within [start, end), the first and the last one cut. */
function* cutOut(parts: readonly Part[], start: number, end: number): Iterable<Part> {
  for (const part of parts) {
    const from = Math.max(part.offset, start);
    const to = Math.min(part.offset + part.size, end);
    if (to <= from) continue;
    const address = part.address === undefined ? undefined : part.address + BigInt(from - part.offset);
    yield from === part.offset && to === part.offset + part.size
      ? part
      : { ...part, offset: from, size: to - from, address };
  }
}
