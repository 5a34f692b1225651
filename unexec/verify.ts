/**
 * The last pass: a written image is read back with our own reader, and what it says of itself must be
 * what was meant. Reads headers, notes and tables, not the contents.
 *
 * @module
 */
import { type ElfFile, ET, elfNotes, FormatError, findSection, PT, readElf } from '../formats/elf/index.ts';
import { UnexecError } from './errors.ts';
import { FileSource } from './file-source.ts';
import type { ProcessImage } from './image.ts';
import { NOTE } from './manifest.ts';

/** @throws UnexecError `VERIFY_FAILED`, with all that is wrong; the error of open(2) */
export function verifyImage(path: string, image: ProcessImage): void {
  const source = new FileSource(path);
  let wrong: readonly string[];
  try {
    wrong = faultsOf(readElf(source), source.size, image);
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

/** Sections that end beyond the file are refused by `readElf`. */
function faultsOf(file: ElfFile, fileSize: number, image: ProcessImage): string[] {
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
  const starts = new Set(file.sections.map(({ address }) => address));
  for (const region of image.regions) {
    if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall') continue;
    expect(starts.has(region.start), `no section begins at 0x${region.start.toString(16)} (${region.name})`);
  }
  return wrong;
}
