/**
 * A file as one side of a comparison: a process that unexec froze, by its regions; any other ELF or Mach-O file by its
 * sections, or its segments where it has none.
 *
 * @module
 */
import {
  type ByteSource,
  describeFile,
  type ImageDescription,
  type MemoryPart,
  type Part,
} from '../../formats/describe/index.ts';
import { type ElfFile, readElf } from '../../formats/elf/index.ts';
import { FormatError } from '../../formats/errors.ts';
import { readMachO } from '../../formats/macho/index.ts';
import {
  COMPRESSED_SECTION,
  type CompressedStretch,
  compressedBlocks,
  compressedStretches,
  StretchSource,
} from '../compressed-memory.ts';
import { UnexecError } from '../errors.ts';
import { openRegularFile } from '../file-source.ts';
import type { Arch } from '../image.ts';
import type { Fields } from '../inspect/fields.ts';
import { notesOfElf, notesOfMachO } from '../inspect/notes.ts';
import { readSteps } from '../inspect/steps.ts';
import { type MemoryStretch, StretchMemory } from '../sources/stretch-memory.ts';
import { frozenAreas, frozenFacts } from './frozen.ts';
import type { Area, Side, SymbolSpan } from './side.ts';
import { findAuxv, splitStack } from './stack.ts';

const ARCHES: ReadonlyMap<string, Arch> = new Map([
  ['x86_64', 'x86_64'],
  ['aarch64', 'aarch64'],
  ['arm64', 'aarch64'],
  ['arm64e', 'aarch64'],
]);

/**
 * @throws UnexecError `FILE_UNREADABLE`, `DIFF_FAT` for a file of several architectures, `UNSUPPORTED_ARCH`; with the code of the
 *   FormatError for a file that makes no sense
 */
export function openFileSide(path: string): Side {
  const source = openRegularFile(path);
  try {
    return sideOf(path, source, async () => source.close());
  } catch (error) {
    source.close();
    throw named(path, error);
  }
}

/** What makes no sense is in one of two files: the error says in which. */
const named = (path: string, error: unknown): unknown =>
  error instanceof FormatError
    ? new UnexecError(error.code, `${path}: ${error.message}`, { path, cause: error })
    : error;

function naming<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw named(path, error);
  }
}

function sideOf(path: string, source: ByteSource, close: Side['close']): Side {
  const { images, parts, size } = describeFile(source);
  const [image] = images;
  if (image === undefined || images.length > 1) {
    throw new UnexecError('DIFF_FAT', `${path} has ${images.length} architectures, expected one`, {
      path,
      hint: 'take out the one that is meant: lipo -thin',
    });
  }
  const arch = ARCHES.get(image.arch);
  if (arch === undefined) {
    throw new UnexecError('UNSUPPORTED_ARCH', `${path} is for ${image.arch}, expected x86-64 or 64-bit ARM`, {
      path,
    });
  }
  const elf = image.format === 'ELF' ? readElf(source) : undefined;
  const notes = elf ? notesOfElf(elf) : notesOfMachO(readMachO(source));
  const manifest = notes?.manifest;
  const isProcess = elf !== undefined && manifest?.text('style') === 'resume';
  const regions = isProcess ? frozenAreas(manifest) : partsInMemory(image);
  const compressed = isProcess ? compressedStretches(compressedBlocks(elf)) : [];
  const memory = memoryOf(path, image, source, compressed);
  const vector = isProcess ? findAuxv(regions, memory) : undefined;
  return {
    told: {
      ...{ source: 'file', path, pid: null, kind: image.kind, arch: image.arch, size },
      frozenAt: manifest?.text('frozenAt') ?? null,
    },
    arch,
    areas: splitStack(regions, vector),
    memory,
    symbols: () => naming(path, () => symbolsOf(image)),
    facts: isProcess ? frozenFacts(manifest, vector, memory) : {},
    manifest,
    steps: isProcess ? stepsOf(elf, manifest) : undefined,
    file: { source, parts: partsElsewhere(parts, regions) },
    close,
  };
}

/** Of an ordinary file what it has in memory; of a core its segments. */
const partsInMemory = (image: ImageDescription): Area[] =>
  image.memory.map(({ address, size, name, kind, protection, backing }) => ({
    start: address,
    size,
    read: protection.includes('r'),
    write: protection.includes('w'),
    execute: protection.includes('x'),
    shared: false,
    name,
    kind,
    inode: 0,
    leavesPages: false,
    isCompared: backing !== 'absent',
  }));

function memoryOf(
  path: string,
  image: ImageDescription,
  source: ByteSource,
  compressed: readonly CompressedStretch[],
): StretchMemory {
  const stretchOf = ({ name, address, size, backing, offset }: MemoryPart): MemoryStretch => ({
    start: address,
    size,
    ...{ name, inode: 0, read: true, write: false, execute: false, shared: false },
    stored: backing === 'file' && offset !== undefined ? Math.min(size, source.size - offset) : 0,
    fill: (into, bytes) => bytes.set(source.read((offset ?? 0) + into, bytes.length)),
  });
  const plain = image.memory.filter(({ backing }) => compressed.length === 0 || backing !== 'absent');
  const packed = compressed.map((stretch): MemoryStretch => {
    const memory = new StretchSource(source, stretch);
    return {
      start: stretch.address,
      size: stretch.size,
      ...{ name: '', inode: 0, read: true, write: false, execute: false, shared: false },
      stored: stretch.size,
      fill: (into, bytes) => bytes.set(naming(path, () => memory.read(into, bytes.length))),
    };
  });
  const stretches = [...plain.map(stretchOf), ...packed];
  return new StretchMemory(stretches.sort((a, b) => (a.start < b.start ? -1 : 1)));
}

const symbolsOf = (image: ImageDescription): SymbolSpan[] =>
  image
    .symbols()
    .flatMap(({ name, address, size }) => (address === undefined ? [] : [{ name, address, size }]));

const stepsOf = (elf: ElfFile, manifest: Fields) => {
  const place = manifest.object('steps');
  return readSteps(elf, place.bigAddress('address'), place.whole('size'));
};

/** Parts that no area holds; parts of the restorer have addresses, too. */
function partsElsewhere(parts: readonly Part[], areas: readonly Area[]): Part[] {
  const starts = areas.map(({ start }) => start);
  const isInArea = (address: bigint): boolean => {
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((starts[middle] ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    const area = areas[low - 1];
    return area?.isCompared === true && address < area.start + BigInt(area.size);
  };
  return parts.filter(({ address, name }) =>
    address === undefined ? name !== COMPRESSED_SECTION : !isInArea(address),
  );
}
