/**
 * The last pass: a written image is read back with our own reader, and what it says of itself must be
 * what was meant. Reads headers, notes and tables, not the contents.
 *
 * @module
 */
import { ET, elfNotes, findSection, PT, readElf, SHT } from '../formats/elf/index.ts';
import { UnexecError } from './errors.ts';
import { FileSource } from './file-source.ts';
import type { ProcessImage } from './image.ts';
import { NOTE } from './manifest.ts';

/** @throws UnexecError `VERIFY_FAILED`, with all that is wrong */
export function verifyImage(path: string, image: ProcessImage): void {
  const source = new FileSource(path);
  try {
    const file = readElf(source);
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
      loads.every(({ offset, fileSize }) => offset + fileSize <= source.size),
      'a segment ends beyond the file',
    );
    expect(
      file.sections.every(
        ({ type, offset, size }) => type === SHT.SHT_NOBITS || (offset ?? 0) + size <= source.size,
      ),
      'a section ends beyond the file',
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
    for (const region of image.regions) {
      if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall') continue;
      const covered = file.sections.some(({ address }) => address === region.start);
      expect(covered, `no section begins at 0x${region.start.toString(16)} (${region.name})`);
    }
    if (wrong.length > 0) {
      throw new UnexecError('VERIFY_FAILED', `the written image is wrong: ${wrong.join('; ')}`, {
        path,
        hint: 'this is a fault of unexec: please report it',
      });
    }
  } finally {
    source.close();
  }
}
