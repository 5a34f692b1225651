/**
 * Fat (universal) files: several Mach-O files for different machines in one, read into a model and written
 * from it. `mach-o/fat.h` of cctools-1035; all numbers are big-endian.
 *
 * @module
 */
import { type Contents, contentsSize, type KeptBytes } from '../contents.ts';
import { FormatError, hex, toNumber } from '../errors.ts';
import { joinParts, type LayoutPart, MACHO, partOf, tablePart } from '../parts.ts';
import { bytesOf, type Piece, piecesOf } from '../pieces.ts';
import { type ByteSource, bytesSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { FAT } from './constants.ts';
import { sliceOf, uncovered } from './extents.ts';
import { isFat } from './header.ts';
import { BE, fat_arch, fat_arch_64, fat_header } from './structs.ts';

export interface FatFile {
  /** FAT_MAGIC, or FAT_MAGIC_64 with room for offsets beyond 4 GiB. */
  magic: number;
  /** In their order in the header. */
  architectures: FatArchitecture[];
  /** What the file holds beside them: it stays where it was. */
  kept: KeptBytes[];
  /** The file that this was read from. */
  source: ByteSource | undefined;
}

/** One of the files in a fat file. */
export interface FatArchitecture {
  /** CPU_TYPE_*. */
  cputype: number;
  /** CPU_SUBTYPE_*. */
  cpusubtype: number;
  /** Kept where set; undefined: the layout places it behind the one before. */
  offset: number | undefined;
  /** A power of two. */
  align: number;
  /** The file, for `readMachO`. */
  contents: Contents;
}

/** What `layoutFat` computes: the parts of the file and its size. */
export interface FatLayout {
  readonly parts: readonly LayoutPart[];
  readonly size: number;
}

/** A Java class has the same magic and its version, 43 or more, where a fat file has this number. */
const MAX_ARCHITECTURES = 42;

/**
 * A fat file as a model, the files in it still in the source.
 *
 * @throws FormatError `MACHO_BAD_MAGIC`, `MACHO_BAD_FAT`, `MACHO_TRUNCATED`
 */
export function readFat(input: ByteSource | Uint8Array): FatFile {
  const source = input instanceof Uint8Array ? bytesSource(input) : input;
  const { magic, nfat_arch } = readFatHeader(source);
  const of = structOf(magic);
  const tableSize = nfat_arch * of.size;
  const table = sliceOf(source, `the table of ${nfat_arch} architectures`, {
    offset: fat_header.size,
    size: tableSize,
  });
  const view = viewOf(table.read(0, tableSize));
  const architectures = Array.from({ length: nfat_arch }, (_, i): FatArchitecture => {
    const arch = of.read(view, i * of.size, BE);
    const offset = toNumber(`Mach-O: offset of architecture ${i}`, BigInt(arch.offset));
    const size = toNumber(`Mach-O: size of architecture ${i}`, BigInt(arch.size));
    const { cputype, cpusubtype, align } = arch;
    const contents = sliceOf(source, `architecture ${i}`, { offset, size });
    return { cputype, cpusubtype, offset, align, contents };
  });
  const covered = architectures.map(({ offset = 0, contents }) => ({ offset, size: contentsSize(contents) }));
  const kept = uncovered(source, [{ offset: 0, size: fat_header.size + tableSize }, ...covered]);
  return { magic, architectures, kept, source };
}

/**
 * The layout of a fat file; the file is not changed.
 *
 * @throws FormatError `MACHO_TOO_LARGE` where FAT_MAGIC_64 would be needed, `MACHO_OVERLAP`, `MACHO_BAD_FAT`
 */
export function layoutFat(file: FatFile): FatLayout {
  const of = structOf(file.magic);
  const header = new Uint8Array(fat_header.size + file.architectures.length * of.size);
  fat_header.write(viewOf(header), 0, { magic: file.magic, nfat_arch: file.architectures.length }, BE);
  let end = header.length;
  const placed = file.architectures.map((architecture, i): LayoutPart => {
    const { cputype, cpusubtype, align, contents } = architecture;
    const size = contentsSize(contents);
    const offset = architecture.offset ?? roundUp(end, 2 ** align);
    end = Math.max(end, offset + size);
    const at = fat_header.size + i * of.size;
    const arch = { cputype, cpusubtype, align, reserved: 0 };
    if (of === fat_arch_64) {
      fat_arch_64.write(viewOf(header), at, { ...arch, offset: BigInt(offset), size: BigInt(size) }, BE);
    } else {
      if (offset > 0xffff_ffff || size > 0xffff_ffff) throw tooLarge(i, offset, size);
      fat_arch.write(viewOf(header), at, { ...arch, offset, size }, BE);
    }
    return partOf(`architecture ${i}`, offset, contents);
  });
  const parts = joinParts(MACHO, file.source, [
    tablePart(file.source, 'the fat header', 0, header),
    ...placed,
    ...file.kept.map(({ offset, contents }) => partOf('bytes of no architecture', offset, contents)),
  ]);
  const last = parts.at(-1);
  return { parts, size: last ? last.offset + last.size : 0 };
}

/** The pieces of a fat file in order of offset, without overlaps, read as they are asked for. */
export const writeFat = (layout: FatLayout): Generator<Piece, void> => piecesOf(MACHO, layout);

/** A whole fat file in memory. */
export const fatBytes = (file: FatFile): Uint8Array => bytesOf(MACHO, layoutFat(file));

function readFatHeader(source: ByteSource): fat_header {
  const bytes = source.read(0, Math.min(fat_header.size, source.size));
  if (!isFat(bytes) || bytes.length < fat_header.size) {
    const message = 'Mach-O: the file does not begin with a fat header, expected FAT_MAGIC or FAT_MAGIC_64';
    throw new FormatError('MACHO_BAD_MAGIC', message, { offset: 0 });
  }
  const header = fat_header.read(viewOf(bytes), 0, BE);
  if (header.nfat_arch <= MAX_ARCHITECTURES) return header;
  throw new FormatError(
    'MACHO_BAD_FAT',
    `Mach-O: nfat_arch is ${header.nfat_arch} at 0x4, expected at most ${MAX_ARCHITECTURES}; a Java class has its version there`,
    { offset: 4, value: header.nfat_arch },
  );
}

function structOf(magic: number): typeof fat_arch | typeof fat_arch_64 {
  if (magic === FAT.FAT_MAGIC) return fat_arch;
  if (magic === FAT.FAT_MAGIC_64) return fat_arch_64;
  const message = `Mach-O: magic is ${hex(magic)}, expected FAT_MAGIC or FAT_MAGIC_64`;
  throw new FormatError('MACHO_BAD_FAT', message, { value: magic });
}

const tooLarge = (index: number, offset: number, size: number): FormatError =>
  new FormatError(
    'MACHO_TOO_LARGE',
    `Mach-O: architecture ${index} is ${hex(size)} bytes at ${hex(offset)}, expected below 4 GiB, or FAT_MAGIC_64`,
    { offset, value: size },
  );

/** Not with `&`: an offset may be beyond 2^31. */
const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
