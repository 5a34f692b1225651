/**
 * Reads the manifest of a frozen executable: what it says about itself.
 *
 * @module
 */
import { type ElfFile, elfNotes, FormatError, readElf } from '../formats/elf/index.ts';
import { UnexecError } from './errors.ts';
import { FileSource } from './file-source.ts';
import { MANIFEST_VERSION, type Manifest, NOTE } from './manifest.ts';

/**
 * The manifest of the file at `path`.
 *
 * @throws UnexecError `NO_MANIFEST` when unexec did not write the file, `MANIFEST_VERSION` when a newer
 *   one did; FormatError when it is no sound ELF file; the error of open(2)
 */
export function readManifest(path: string): Manifest {
  const source = new FileSource(path);
  try {
    return manifestOf(readElf(source), path);
  } finally {
    source.close();
  }
}

/** The same of a file that has been read already. */
export function manifestOf(file: ElfFile, path: string): Manifest {
  const note = elfNotes(file).find(({ owner, type }) => owner === 'unexec' && type === NOTE.MANIFEST);
  if (note !== undefined) return decode(note.desc, path);
  throw new UnexecError('NO_MANIFEST', `${path} has no note of unexec`, { path });
}

function decode(bytes: Uint8Array, path: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError('MANIFEST_MALFORMED', `manifest: ${String(cause)}, expected JSON in UTF-8`);
  }
  if (!isOurs(value)) {
    throw new UnexecError(
      'MANIFEST_VERSION',
      `the manifest of ${path} has another version than ${MANIFEST_VERSION}`,
      { path, hint: 'read it with the version of unexec that wrote the file' },
    );
  }
  return value;
}

/** The version stands for the shape: only unexec writes notes with this owner. */
const isOurs = (value: unknown): value is Manifest =>
  typeof value === 'object' && value !== null && 'version' in value && value.version === MANIFEST_VERSION;
