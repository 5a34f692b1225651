/**
 * Steps that hold a file to what it was: as long, and not changed since. Facts: stat(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileTime } from '../../file-time.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef } from '../../restorer/steps.ts';
import { STAT } from './system-calls.ts';

/** `stat`: the file's struct stat, which has been asked for; `name`: how messages call the file. */
export function requireUnchanged(
  program: RestoreProgram,
  stat: DataRef,
  name: string,
  { size, mtime }: { readonly size: number; readonly mtime: FileTime },
): void {
  const fields = STAT[program.arch];
  const expected = new Uint8Array(24);
  const view = viewOf(expected);
  view.setBigUint64(0, BigInt(size), true);
  view.setBigInt64(8, mtime.seconds, true);
  view.setBigInt64(16, mtime.nanoseconds, true);
  const wanted = program.data(expected);
  const changed = `${name} is not the file that it was: its`;
  program.operation('COMPARE', `${changed} size differs`, [{ ...stat, offset: fields.st_size }, wanted, 8]);
  program.operation('COMPARE', `${changed} time of change differs`, [
    { ...stat, offset: fields.st_mtim },
    { ...wanted, offset: 8 },
    16,
  ]);
}
