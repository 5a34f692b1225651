/**
 * The `resume` style: an ELF executable that goes on where the process was frozen. DESIGN: contents
 * first, streamed to their places while the process is held; then everything that is computed.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import { layoutElf, writeElf } from '../../formats/elf/index.ts';
import { writeAll } from '../chunk-writer.ts';
import { COMPRESSED_SECTION, type CompressedBlock, encodeBlocks } from '../compressed-memory.ts';
import { UnexecError } from '../errors.ts';
import { bytesLeft, findFilePages, type Left } from '../file-pages.ts';
import { endOf, type FileStretch, PAGE, type ProcessImage, type Region } from '../image.ts';
import { isMemoryFile } from '../linux/regions.ts';
import { encodeManifest, NOTE, resumeManifest } from '../manifest.ts';
import { RESTORERS } from '../restorer/machine-code.ts';
import type { Step } from '../restorer/steps.ts';
import { VERSION } from '../version.ts';
import { encodeZones } from '../zones/note.ts';
import { neededArmFeatures } from './resume/arm-machine.ts';
import { storeCompressed } from './resume/compressed-contents.ts';
import {
  isStored,
  type ObjectContents,
  planSpans,
  type Span,
  type StoredObject,
  type StoredSpan,
  type StoreProgress,
  storeObject,
  storeSpans,
} from './resume/contents.ts';
import { cpuNeeds } from './resume/cpu.ts';
import { buildExecutable, CONTENTS_OFFSET, type SymbolChoice } from './resume/executable.ts';
import { isPrivate, objectKey } from './resume/mappings.ts';
import { type PlanOptions, planResume, type StoredContents } from './resume/plan.ts';
import { systemCallVdso } from './resume/vdso.ts';
import { chooseWindow, DATA_LIMIT } from './resume/window.ts';

export interface ResumeOptions extends PlanOptions {
  readonly symbols: SymbolChoice;
}

export interface StoreResult extends StoredContents {
  /** Bytes of pages in the file. */
  readonly storedBytes: number;
}

export type Progress = (done: number, total: number) => void;

/** What of the image can be left in the files that are mapped: to be found out while the process stands. */
export const filePagesOf = (image: ProcessImage): Left =>
  findFilePages(
    image.regions.filter(region => isStored(region) && isPrivate(region)),
    image.memory,
  );

export interface StoreOptions {
  /** What stays in other files. */
  readonly left: Left;
  /** As LZ4 blocks. */
  readonly compress: boolean;
}

/** Streams the contents of the image into the file. After this the process is no longer needed. */
export async function storeContents(
  image: ProcessImage,
  file: FileHandle,
  { left, compress }: StoreOptions,
  progress: Progress,
): Promise<StoreResult> {
  const regions = image.regions.filter(region => isStored(region) && isPrivate(region));
  const planned = planSpans(image, regions, CONTENTS_OFFSET, left);
  const total = planned.reduce((sum, span) => sum + span.size, 0);
  const { spans, compressed } = compress
    ? await storeBlocks(image, planned, file, done => progress(done, total))
    : {
        spans: await storeSpans(image, planned, file, done => progress(done, total)),
        compressed: undefined,
      };
  let end = CONTENTS_OFFSET;
  if (compressed === undefined) {
    for (const { fileOffset, size } of planned) end = Math.max(end, fileOffset + size);
  } else {
    for (const { offset, length } of compressed)
      end = Math.max(end, Math.ceil((offset + length) / PAGE) * PAGE);
  }

  const objects: StoredObject[] = [];
  for (const object of memoryObjects(image)) {
    objects.push(await storeObject(object, end, file));
    end += Math.ceil(object.size / PAGE) * PAGE;
  }
  let vdsoOffset: number | undefined;
  if (image.vdso !== undefined) {
    vdsoOffset = end;
    const bytes = systemCallVdso(image.vdso, image.arch);
    await writeAll(file, bytes, end);
    end += Math.ceil(bytes.length / PAGE) * PAGE;
  }
  return {
    ...{ spans, left, compressed, objects, vdsoOffset },
    fileSize: end,
    storedBytes: storedBytes(compressed === undefined ? spans : [], objects) + compressedBytes(compressed),
  };
}

const compressedBytes = (blocks: readonly CompressedBlock[] = []): number =>
  blocks.reduce((sum, { length }) => sum + length, 0);

async function storeBlocks(
  image: ProcessImage,
  planned: readonly Span[],
  file: FileHandle,
  progress: StoreProgress,
) {
  const { spans, blocks } = await storeCompressed(image, planned, file, CONTENTS_OFFSET, progress);
  return { spans, compressed: blocks };
}

const storedBytes = (spans: readonly StoredSpan[], objects: readonly StoredObject[]): number =>
  [...spans, ...objects].flatMap(({ runs }) => runs).reduce((sum, run) => sum + run.count * PAGE, 0);

/** Files without names, and shared memory that only mappings refer to. */
function memoryObjects(image: ProcessImage): ObjectContents[] {
  const objects = new Map<string, ObjectContents>();
  for (const { what } of image.files) {
    if (what.type !== 'memory') continue;
    const { contents, name, size } = what;
    const key = objectKey(what);
    objects.set(key, {
      key,
      name,
      size,
      stretches: () => contents.stretches(),
      read: (offset, into) => contents.read(offset, into),
    });
  }
  for (const region of image.regions) {
    if (isPrivate(region) || !isMemoryFile(region) || objects.has(objectKey(region))) continue;
    objects.set(objectKey(region), sharedMemory(image, objectKey(region), region.name));
  }
  return [...objects.values()];
}

/** Shared memory without a descriptor, read through the mappings of it. */
function sharedMemory(image: ProcessImage, key: string, name: string): ObjectContents {
  const mappings = image.regions.filter(region => !isPrivate(region) && objectKey(region) === key);
  const size = Math.max(...mappings.map(({ offset, size }) => offset + size));
  return {
    key,
    name: name.replace(/ \(deleted\)$/, ''),
    size,
    stretches: () => stretchesOf(image, mappings),
    read(offset, into) {
      const mapping = mappings.find(
        region => region.offset <= offset && offset < region.offset + region.size,
      );
      // A part that is mapped nowhere cannot be read by the process either.
      const length = Math.min(
        into.length,
        mapping === undefined ? PAGE : mapping.offset + mapping.size - offset,
      );
      if (mapping !== undefined) {
        image.memory.read(mapping.start + BigInt(offset - mapping.offset), into.subarray(0, length));
      }
      return length;
    },
  };
}

/** Of what mappings show of an object; what none of them shows, the process cannot reach either. */
const stretchesOf = ({ memory }: ProcessImage, mappings: readonly Region[]): FileStretch[] =>
  mappings
    .flatMap(region =>
      [...memory.touched(region)].map(({ first, count }) => ({
        offset: region.offset + first * PAGE,
        size: count * PAGE,
      })),
    )
    .sort((a, b) => a.offset - b.offset);

export interface WrittenImage {
  /** Bytes of the file, holes included. */
  readonly fileSize: number;
  readonly storedBytes: number;
  /** Bytes of pages that are left in other files (a thin image). */
  readonly leftBytes: number;
  /** Bytes of address space of the process. */
  readonly memoryBytes: number;
  readonly steps: readonly Step[];
}

/** Plans the restore program and writes everything around the contents. */
export async function finishExecutable(
  image: ProcessImage,
  contents: StoreResult,
  file: FileHandle,
  options: ResumeOptions,
): Promise<WrittenImage> {
  const window = chooseWindow(image.arch, image.regions);
  const program = planResume(image, window, contents, options);
  const prefix = `unexec: cannot resume ${image.origin.program}: `;
  const { bytes: data, steps } = program.layOut(window.data, prefix);
  if (BigInt(data.length) > DATA_LIMIT) {
    throw new UnexecError(
      'TOO_MUCH_STATE',
      `the restore program takes ${data.length} bytes, expected at most ${DATA_LIMIT}`,
      {
        hint: 'unread bytes in pipes and sockets are part of it: freeze when they have been read',
      },
    );
  }

  const manifest = resumeManifest(image, {
    tool: VERSION,
    needs: image.arch === 'aarch64' ? { features: neededArmFeatures(image), xcr0: 0n } : cpuNeeds(image),
    stored: storedByRegion(contents.spans),
    left: contents.left,
    blocks: contents.compressed,
    orStart: options.orStart,
    steps,
  });
  const { alignment } = RESTORERS[image.arch];
  const elf = buildExecutable({
    image,
    window,
    spans: contents.spans,
    left: contents.left,
    compressed: contents.compressed !== undefined,
    data,
    dataOffset: Math.ceil(contents.fileSize / alignment) * alignment,
    notes: [
      { type: NOTE.MANIFEST, desc: encodeManifest(manifest) },
      { type: NOTE.ZONES, desc: encodeZones(image.zones) },
      ...(contents.compressed === undefined
        ? []
        : [{ type: NOTE.BLOCKS, desc: encodeBlocks(contents.compressed) }]),
    ],
    symbols: options.symbols,
    extras: extraContents(image, contents),
  });
  const layout = layoutElf(elf);
  await file.truncate(layout.size);
  for (const { offset, bytes } of writeElf(layout)) await writeAll(file, bytes, offset);
  return {
    fileSize: layout.size,
    storedBytes: contents.storedBytes,
    leftBytes: [...contents.left.keys()].reduce((sum, region) => sum + bytesLeft(contents.left, region), 0),
    memoryBytes: image.regions.reduce((sum, region) => sum + Number(endOf(region) - region.start), 0),
    steps: program.steps,
  };
}

/** What is in the file beside the regions, for the section table. */
function extraContents(image: ProcessImage, { objects, vdsoOffset, compressed }: StoreResult) {
  const vdso =
    image.vdso === undefined || vdsoOffset === undefined
      ? []
      : [{ name: '.unexec.vdso', offset: vdsoOffset, size: image.vdso.size }];
  const size = compressedBytes(compressed);
  return [
    ...(size === 0 ? [] : [{ name: COMPRESSED_SECTION, offset: CONTENTS_OFFSET, size }]),
    ...objects.map(({ name, fileOffset, size }) => ({
      name: `.unexec.file.${name}`,
      offset: fileOffset,
      size,
    })),
    ...vdso,
  ];
}

function storedByRegion(spans: readonly StoredSpan[]): Map<bigint, number> {
  const stored = new Map<bigint, number>();
  for (const { region, runs } of spans) {
    const bytes = runs.reduce((sum, run) => sum + run.count * PAGE, 0);
    stored.set(region.start, (stored.get(region.start) ?? 0) + bytes);
  }
  return stored;
}
