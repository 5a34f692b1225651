/**
 * Where the restorer lives: a stretch of addresses that the image leaves free and that no part of a new
 * process is put at (stack, vdso and mmap area are random, but high). Layout, from `start`:
 *
 *     arguments   7 MiB   argv, envp and their strings in the second life; mapped as long as they are
 *     parking     1 MiB   the new process's vdso, on aarch64
 *     code                ELF header, program headers, machine code
 *     data                slots, data, steps
 *     staging     8 MiB   compressed contents, a stretch of the file after the other
 *
 * @module
 */
import { UnexecError } from '../../errors.ts';
import { type Arch, endOf, type Region } from '../../image.ts';
import { RESTORERS } from '../../restorer/machine-code.ts';

/** The kernel takes at most 6 MiB of arguments and environment (fs/exec.c, bprm_stack_limits). */
export const ARGUMENTS_SIZE = 7n << 20n;
const PARKING_SIZE = 1n << 20n;
/** Room for the data; a program of a thousand mappings needs 0.2 MiB. */
export const DATA_LIMIT = 111n << 20n;
/** Room for compressed contents on their way, at the end. */
export const STAGING_SIZE = 8n << 20n;
const WINDOW_SIZE = 128n << 20n;

/**
 * Below 2^47 minus what ASLR may give to stack and vdso. The first one is free in every
 * position-independent program; the others stay clear of a heap that follows a program at 4 MiB.
 */
const CANDIDATES = [
  0x1_0000n,
  0x10_0000_0000n,
  0x100_0000_0000n,
  0x800_0000_0000n,
  0x1000_0000_0000n,
  0x2000_0000_0000n,
  0x3000_0000_0000n,
  0x6000_0000_0000n,
  0x6800_0000_0000n,
];
/** On aarch64 a kernel may have 36 bits of addresses only: 64 GiB. */
const LOW_CANDIDATES = [0x1_0000n, 0x8_0000_0000n];
/** The heap may grow this far before it meets the window. */
const HEAP_ROOM = 16n << 30n;

export interface Window {
  readonly start: bigint;
  readonly arguments: bigint;
  /** Room for the new process's vdso, beyond the longest arguments. */
  readonly parking: bigint;
  readonly code: bigint;
  readonly data: bigint;
  readonly staging: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

/** Chooses a window for these regions. @throws UnexecError `NO_WINDOW` */
export function chooseWindow(arch: Arch, regions: readonly Region[]): Window {
  const candidates = arch === 'aarch64' ? [...LOW_CANDIDATES, ...CANDIDATES] : CANDIDATES;
  const start = candidates.find(candidate => isFree(candidate, regions));
  if (start === undefined) {
    throw new UnexecError(
      'NO_WINDOW',
      'the process leaves no 128 MiB of address space free for the restorer',
    );
  }
  const code = start + ARGUMENTS_SIZE + PARKING_SIZE;
  const data = code + BigInt(RESTORERS[arch].dataDistance);
  const end = start + WINDOW_SIZE;
  const parking = code - PARKING_SIZE;
  return { start, arguments: start, parking, code, data, staging: end - STAGING_SIZE, end };
}

function isFree(start: bigint, regions: readonly Region[]): boolean {
  const end = start + WINDOW_SIZE;
  return regions.every(region => {
    const room = region.kind === 'heap' ? HEAP_ROOM : 0n;
    return end <= region.start || endOf(region) + room <= start;
  });
}
