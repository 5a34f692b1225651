/**
 * Calls that a program's process is made to make before its first instruction.
 *
 * @module
 */
import { findSyscallInstruction, SCRATCH_SIZE, scratchAddress } from '../linux/borrow.ts';
import { ptrace, waitpid } from '../linux/libc.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { hasKeys, takeKeys } from '../linux/pointer-authentication.ts';
import { parseSmaps, readProc } from '../linux/proc.ts';
import { PTRACE } from '../linux/ptrace.ts';
import { nameRegions } from '../linux/regions.ts';
import { RemoteThread } from '../linux/remote.ts';
import { alignedBrk, alignHeap } from './align-heap.ts';

const WALL = 0x40000000;

/** Of a program that we have started and that stands in its exec stop. */
export function beforeStart(pid: number): void {
  const aligned = alignedBrk(pid);
  if (aligned === undefined && !hasKeys(pid)) return;
  makeCalls(pid, (remote, memory, scratch) => {
    if (aligned !== undefined) alignHeap(remote, memory, scratch, aligned);
    if (hasKeys(pid)) takeKeys(remote);
  });
}

/** Of a program that this one executes: every exec gives new keys. */
export function beforeNextStart(pid: number): void {
  if (hasKeys(pid)) makeCalls(pid, takeKeys);
}

function makeCalls(
  pid: number,
  calls: (remote: RemoteThread, memory: ProcessMemory, scratch: bigint) => void,
): void {
  // The exec stop is inside of execve, whose return would overwrite a register: one step leads out.
  if (ptrace(PTRACE.SINGLESTEP, pid, 0, 0) < 0) return;
  waitpid(pid, WALL);
  const memory = new ProcessMemory(pid);
  try {
    const regions = nameRegions(parseSmaps(readProc(`/proc/${pid}/smaps`)), []);
    const scratch = scratchAddress(regions);
    const overwritten = memory.bytes(scratch, SCRATCH_SIZE);
    const remote = new RemoteThread(pid, findSyscallInstruction(regions, memory));
    calls(remote, memory, scratch);
    remote.end();
    memory.write(scratch, overwritten);
  } finally {
    memory.close();
  }
}
