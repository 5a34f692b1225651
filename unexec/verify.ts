/**
 * The last pass: a written image is read back with our own reader, and what it says of itself must be
 * what was meant. Reads headers, notes and tables, not the contents. The same for a file that was written
 * long ago, as far as its own manifest goes.
 *
 * @module
 */
import { type ElfFile, ET, elfNotes, FormatError, findSection, PT, readElf } from '../formats/elf/index.ts';
import type { Finding } from '../formats/finding.ts';
import { type BackingFile, differenceOf } from './backing-file.ts';
import { compressedBlocks, readBlock } from './compressed-memory.ts';
import { UnexecError } from './errors.ts';
import { FileSource } from './file-source.ts';
import type { ProcessImage } from './image.ts';
import { Fields } from './inspect/fields.ts';
import { type Manifest, NOTE } from './manifest.ts';
import { backingFiles } from './manifest-files.ts';
import { manifestOf } from './read-manifest.ts';

/** @throws UnexecError `VERIFY_FAILED`, with all that is wrong; the error of open(2) */
export function verifyImage(path: string, image: ProcessImage): void {
  const source = new FileSource(path);
  let wrong: readonly string[];
  try {
    const file = readElf(source);
    wrong = [...faultsOf(file, source.size), ...missingRegions(file, image.regions)];
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    wrong = [`it cannot be read (${error.message})`];
  } finally {
    source.close();
  }
  if (wrong.length === 0) return;
  throw new UnexecError('VERIFY_FAILED', `the written image is wrong: ${wrong.join('; ')}`, {
    path,
    hint: 'this is a fault of unexec: please report it',
  });
}

/** Whether the file is a process that unexec froze (style `resume`). Programs of other styles are as any other. */
export function isFrozen(file: ElfFile): boolean {
  try {
    const note = elfNotes(file).find(({ owner, type }) => owner === 'unexec' && type === NOTE.MANIFEST);
    return note !== undefined && !/"style":"(restart|shared)"/.test(new TextDecoder().decode(note.desc));
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/** What is wrong with a file that unexec wrote, by its own manifest; nothing for a file of others. */
export function frozenFindings(file: ElfFile): Finding[] {
  if (!isFrozen(file)) return [];
  let wrong: readonly string[];
  try {
    const manifest = manifestOf(file, 'the file');
    wrong = [
      ...faultsOf(file, file.source?.size ?? 0),
      ...missingRegions(file, regionsOf(manifest)),
      ...stepFaults(file, manifest),
      ...blockFaults(file),
    ];
  } catch (error) {
    if (!(error instanceof FormatError) && !(error instanceof UnexecError)) throw error;
    wrong = [error.message];
  }
  const files = wrong.length > 0 ? [] : fileFindings(manifestOf(file, 'the file'));
  return [...wrong.map(imageFinding), ...files];
}

const imageFinding = (what: string): Finding => ({
  code: 'UNEXEC_IMAGE',
  severity: 'error',
  message: `unexec: the image is wrong: ${what}`,
});

/** A thin image is as sound as the files here that have pages of it. */
function fileFindings(manifest: Manifest): Finding[] {
  let files: readonly BackingFile[];
  try {
    files = backingFiles(new Fields(manifest));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return [imageFinding(error.message)];
  }
  return files.flatMap(file => {
    const difference = differenceOf(file);
    if (difference === undefined) return [];
    const message = `unexec: ${file.path}, which has pages of the image, ${difference}`;
    return [{ code: 'UNEXEC_FILES', severity: 'error', message }];
  });
}

/** Sections that end beyond the file are refused by `readElf`. */
function faultsOf(file: ElfFile, fileSize: number): string[] {
  const wrong: string[] = [];
  const expect = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(what);
  };
  const loads = file.segments.filter(({ type }) => type === PT.PT_LOAD);
  const code = loads.find(({ address, memorySize }) => {
    const into = file.header.entry - address;
    return into >= 0n && into < BigInt(memorySize);
  });
  expect(file.header.type === ET.ET_EXEC, 'it is no executable');
  expect(code !== undefined, 'its entry point lies in no segment');
  expect(
    loads.every(segment => segment.offset + segment.fileSize <= fileSize),
    'a segment ends beyond the file',
  );
  expect(findSection(file, '.unexec.data') !== undefined, 'the restorer has no data');
  const notes = elfNotes(file).filter(({ owner }) => owner === 'unexec');
  expect(
    notes.some(({ type }) => type === NOTE.MANIFEST),
    'it has no manifest',
  );
  expect(
    notes.some(({ type }) => type === NOTE.ZONES),
    'it has no zone note',
  );
  return wrong;
}

type RegionFacts = Pick<ProcessImage['regions'][number], 'start' | 'kind' | 'name'>;

/** Each region has a section, but for those that the kernel makes. */
function missingRegions(file: ElfFile, regions: readonly RegionFacts[]): string[] {
  const starts = new Set(file.sections.map(({ address }) => address));
  return regions
    .filter(
      ({ kind, start }) => kind !== 'vvar' && kind !== 'vdso' && kind !== 'vsyscall' && !starts.has(start),
    )
    .map(({ start, name }) => `no section begins at 0x${start.toString(16)} (${name})`);
}

/** A damaged manifest may have anything where its regions are expected, or nothing. */
function regionsOf({ regions }: Partial<Manifest>): RegionFacts[] {
  if (!Array.isArray(regions)) throw malformed('regions', regions);
  return regions.map((region: Partial<Manifest['regions'][number]> | null, i) => {
    const { start, kind = 'anonymous', name = '' } = region ?? {};
    return { start: addressIn(`regions[${i}].start`, start), kind, name };
  });
}

/** The steps lie within the bytes of one segment. */
function stepFaults(file: ElfFile, { steps }: Partial<Manifest>): string[] {
  const from = addressIn('steps.address', steps?.address);
  const size = steps?.size;
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) throw malformed('steps.size', size);
  const holds = file.segments.some(
    ({ type, address, fileSize }) =>
      type === PT.PT_LOAD && from >= address && from + BigInt(size) <= address + BigInt(fileSize),
  );
  return holds ? [] : [`the steps at 0x${from.toString(16)} lie in no segment`];
}

/** Every block of a compressed image is decompressed, as its start does. */
function blockFaults(file: ElfFile): string[] {
  const { source } = file;
  if (source === undefined) return [];
  return compressedBlocks(file).flatMap(block => {
    try {
      readBlock(source, block);
      return [];
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return [error.message];
    }
  });
}

function addressIn(what: string, text: unknown): bigint {
  if (typeof text === 'string' && /^0x[0-9a-f]{1,16}$/.test(text)) return BigInt(text);
  throw malformed(what, text);
}

const malformed = (what: string, found: unknown): FormatError =>
  new FormatError(
    'MANIFEST_MALFORMED',
    `manifest: ${what} is ${JSON.stringify(found)}, expected another type`,
  );
