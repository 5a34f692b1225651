/**
 * Steps for memory objects: what the image holds of a memfd, a deleted file or shared memory becomes a
 * memfd, which is mapped, and opened for the descriptors that the object had.
 * Facts: memfd_create(2), fcntl(2) (file sealing), sendfile(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { PAGE } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import type { StoredObject } from './contents.ts';
import { objectKey } from './mappings.ts';
import { openAgain, place, seek } from './opening.ts';
import { NR } from './system-calls.ts';

const F_ADD_SEALS = 1033;
const F_SEAL_WRITE = 8;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MEMFD_MODE = 0o777;
/** The kernel takes names up to NAME_MAX less its prefix `memfd:`. */
const NAME_MAX = 249;
/** sendfile(2) moves at most this much at once. */
const SENDFILE_LIMIT = 1 << 30;

/** A memory object that is a file of the process, a shared mapping, or both. */
export interface MemoryObject {
  readonly slot: Slot;
  readonly object: StoredObject | undefined;
}

type MemoryFile = FileKind & { type: 'memory' };

/**
 * Makes and fills an object. A seal against writing is set at once: the mappings that follow are then
 * ones that it allows, while afterwards they could be in its way.
 */
export function memoryObjectSteps(
  program: RestoreProgram,
  image: ProcessImage,
  object: StoredObject,
  self: Slot,
): Slot {
  const slot = program.slot();
  const noun = `memory of ${object.name}`;
  const name = Buffer.from(object.name).subarray(0, NAME_MAX);
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  program.syscall(noun, NR.memfd_create, [program.data(Buffer.concat([name, Buffer.of(0)]), 1), flags], {
    into: slot,
  });
  program.syscall(`size of the ${noun}`, NR.ftruncate, [slot, object.size]);
  for (const run of object.runs) {
    const start = run.first * PAGE;
    const end = Math.min(object.size, start + run.count * PAGE);
    program.syscall(`position in the ${noun}`, NR.lseek, [slot, start, 0]);
    const position = new Uint8Array(8);
    viewOf(position).setBigUint64(0, BigInt(object.fileOffset + start), true);
    const ref = program.writable(position);
    for (let at = start; at < end; at += SENDFILE_LIMIT) {
      const size = Math.min(SENDFILE_LIMIT, end - at);
      program.syscall(`contents of the ${noun}`, NR.sendfile, [slot, self, ref, size]);
    }
  }
  const what = fileOf(image, object.key);
  if (what !== undefined && (what.seals & F_SEAL_WRITE) !== 0) {
    program.syscall(`seal of the ${noun}`, NR.fcntl, [slot, F_ADD_SEALS, F_SEAL_WRITE]);
  }
  return slot;
}

/** What the descriptors of an object know of it. */
function fileOf(image: ProcessImage, key: string): MemoryFile | undefined {
  for (const { what } of image.files) if (what.type === 'memory' && objectKey(what) === key) return what;
  return undefined;
}

/** One description of an object: with its own access mode, flags and position. */
export function memoryFile(
  program: RestoreProgram,
  file: OpenFile,
  what: MemoryFile,
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  const object = objects.get(objectKey(what));
  if (object === undefined) return;
  const slot = openAgain(program, file, object.slot, what.name);
  seek(program, file, slot, what.name);
  place(program, file, slot);
}

/** Once all is mapped and opened: permissions, then seals (which forbid to change them), then the end. */
export function finishObjects(
  program: RestoreProgram,
  image: ProcessImage,
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  for (const [key, { slot }] of objects) {
    const what = fileOf(image, key);
    if (what !== undefined && what.mode !== MEMFD_MODE) {
      program.syscall(`permissions of ${what.name}`, NR.fchmod, [slot, what.mode]);
    }
    if (what !== undefined && (what.seals & ~F_SEAL_WRITE) !== 0) {
      program.syscall(`seals of ${what.name}`, NR.fcntl, [slot, F_ADD_SEALS, what.seals & ~F_SEAL_WRITE]);
    }
    program.syscall('close a memory object', NR.close, [slot]);
  }
}
