/**
 * What is borrowed of a stopped process to make it call: an instruction that makes system calls, and memory to write
 * results to.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { endOf, type Region } from '../image.ts';
import { ARCHITECTURE } from './arch.ts';
import type { ProcessMemory } from './memory.ts';

/** Bytes that may be written at `scratchAddress`, to be put back by the borrower. */
export const SCRATCH_SIZE = 256;

const { instruction, alignment } = ARCHITECTURE.systemCall;

/** Address of an instruction that makes a system call. The vdso has one; where there is none, any code that has. */
export function findSyscallInstruction(regions: readonly Region[], memory: ProcessMemory): bigint {
  const candidates = regions.filter(region => region.execute && region.read && region.kind !== 'vsyscall');
  candidates.sort((a, b) => Number(b.kind === 'vdso') - Number(a.kind === 'vdso'));
  for (const region of candidates) {
    const bytes = Buffer.from(memory.bytes(region.start, Math.min(region.size, 1 << 20)));
    let at = bytes.indexOf(instruction);
    while (at >= 0 && at % alignment !== 0) at = bytes.indexOf(instruction, at + 1);
    if (at >= 0) return region.start + BigInt(at);
  }
  throw new UnexecError(
    'NO_SYSCALL_INSTRUCTION',
    'the process has no instruction to borrow that makes a system call',
  );
}

/** The top of the stack holds the program's name as the kernel left it: always mapped, and put back. */
export function scratchAddress(regions: readonly Region[]): bigint {
  const stack =
    regions.find(region => region.kind === 'stack') ?? regions.find(region => region.write && !region.shared);
  if (stack === undefined) {
    throw new UnexecError('NO_WRITABLE_MEMORY', 'the process has no writable memory to borrow');
  }
  return endOf(stack) - BigInt(SCRATCH_SIZE);
}
