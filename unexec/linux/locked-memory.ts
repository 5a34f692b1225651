/**
 * Whether a process has what it maps from now on locked into memory (mlockall with MCL_FUTURE). Nothing tells
 * that but a new mapping: one is made and taken away. Facts: mlockall(2), proc(5) (smaps).
 *
 * @module
 */
import { PAGE, type Region } from '../image.ts';
import { parseSmaps, readProc } from './proc.ts';
import type { RemoteThread } from './remote.ts';

const PROT_NONE = 0;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Looked at only where something is locked, as after mlockall it is. */
export function locksNewMemory(pid: number, main: RemoteThread, regions: readonly Region[]): boolean {
  if (!regions.some(({ flags }) => flags.has('lo'))) return false;
  const probe = main.call('mmap', 0, PAGE, PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (probe < 0n) return false;
  try {
    const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
    return mappings.some(({ start, end, flags }) => start <= probe && probe < end && flags.has('lo'));
  } finally {
    main.call('munmap', probe, PAGE);
  }
}
