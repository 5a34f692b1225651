/**
 * Steps that map what a thin image has left in other files. Each is opened, found to be the file that it was, mapped
 * wherever it is wanted, and closed, before the next one: no image needs many descriptors for it.
 *
 * @module
 */
import type { BackingFile } from '../../backing-file.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef, Slot } from '../../restorer/steps.ts';
import type { Mapping } from './mappings.ts';
import { AT_FDCWD, NR, STAT } from './system-calls.ts';
import { requireUnchanged } from './unchanged-file.ts';

/** O_RDONLY, O_CLOEXEC, and O_NONBLOCK: a pipe of that name would have us wait, with all signals blocked. */
const OPEN_FLAGS = 0o2004000;

/** Memory for what is asked of one file after the other. */
interface Found {
  readonly fd: Slot;
  readonly size: Slot;
  readonly stat: DataRef;
  readonly id: DataRef;
}

/** Those of the mappings that are of other files. */
export function backingFileSteps(program: RestoreProgram, mappings: readonly Mapping[]): void {
  const files = new Map<BackingFile, Mapping[]>();
  for (const mapping of mappings) {
    if (mapping.file === undefined) continue;
    const of = files.get(mapping.file);
    if (of === undefined) files.set(mapping.file, [mapping]);
    else of.push(mapping);
  }
  if (files.size === 0) return;
  const longest = Math.max(
    ...[...files.keys()].map(({ knownBy }) => ('id' in knownBy ? knownBy.id.length : 0)),
  );
  const found: Found = {
    fd: program.slot(),
    size: program.slot(),
    stat: program.writable(new Uint8Array(STAT[program.arch].size)),
    id: program.writable(new Uint8Array(longest)),
  };
  for (const [file, mapped] of files) {
    openFile(program, file, found);
    for (const { address, size, protection, flags, fileOffset, name } of mapped) {
      const args = [address, size, protection, flags, found.fd, fileOffset ?? 0];
      program.syscall(`map ${name}`, NR.mmap, args);
    }
    program.syscall(`close ${file.path}`, NR.close, [found.fd]);
  }
}

function openFile(program: RestoreProgram, { path, leastSize, knownBy }: BackingFile, found: Found): void {
  const { fd, size, stat, id } = found;
  const fields = STAT[program.arch];
  const changed = `${path}, which has pages of the image, is not the file that it was: its`;
  program.syscall(
    `open ${path}, which has pages of the image`,
    NR.openat,
    [AT_FDCWD, program.string(path), OPEN_FLAGS, 0],
    { into: fd },
  );
  program.syscall(`look at ${path}`, NR.fstat, [fd, stat]);
  if (knownBy.type === 'build-id') {
    const wanted = program.data(knownBy.id, 1);
    program.syscall(`build-id of ${path}`, NR.pread64, [fd, id, knownBy.id.length, knownBy.offset]);
    program.operation('COMPARE', `${changed} build-id differs`, [id, wanted, knownBy.id.length]);
    program.operation('LOAD', `size of ${path}`, [stat, fields.st_size], { into: size });
    program.operation('AT_MOST', `${changed} size differs`, [leastSize, size]);
    return;
  }
  requireUnchanged(program, stat, `${path}, which has pages of the image,`, knownBy);
}
