/**
 * Moves the brk heap of a program that has just been started to the next 2 MiB boundary. A heap that
 * begins on one fills whole huge pages, which are the cheapest way to have it back
 * (styles/resume/bulk.ts); the kernel puts it at a random page, within which the program cannot tell
 * the difference. Best effort. Facts: prctl(2) (PR_SET_MM_MAP), struct prctl_mm_map (linux/prctl.h).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { ProcessMemory } from '../linux/memory.ts';
import { readStat } from '../linux/proc.ts';
import type { RemoteThread } from '../linux/remote.ts';

const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const HUGE_PAGE = 2n << 20n;
/** struct prctl_mm_map: eleven addresses, a pointer, two 32-bit words. */
const PRCTL_MM_MAP_SIZE = 104;
/** Fields of /proc/PID/stat in the order of the struct: start_code … env_end (brk follows start_brk). */
const FIELDS = { beforeBrk: [26, 27, 45, 46], startBrk: 47, afterBrk: [28, 48, 49, 50, 51] } as const;

/** Where the heap is to begin, unless it does so already. */
export function alignedBrk(pid: number): bigint | undefined {
  const startBrk = readStat(pid)(FIELDS.startBrk);
  const aligned = (startBrk + HUGE_PAGE - 1n) & ~(HUGE_PAGE - 1n);
  return startBrk === 0n || aligned === startBrk ? undefined : aligned;
}

/** Before the program's first instruction. `scratch`: memory of the process that may be overwritten. */
export function alignHeap(
  remote: RemoteThread,
  memory: ProcessMemory,
  scratch: bigint,
  aligned: bigint,
): void {
  const stat = readStat(remote.tid);
  const map = new Uint8Array(PRCTL_MM_MAP_SIZE);
  const view = viewOf(map);
  const addresses = [
    ...FIELDS.beforeBrk.map(stat),
    aligned, // start_brk
    aligned, // brk: nothing is allocated yet
    ...FIELDS.afterBrk.map(stat),
  ];
  for (const [i, address] of addresses.entries()) view.setBigUint64(i * 8, address, true);
  view.setUint32(100, 0xffff_ffff, true); // exe_fd: none
  memory.write(scratch, map);
  remote.call('prctl', PR_SET_MM, PR_SET_MM_MAP, scratch, map.length, 0);
}
