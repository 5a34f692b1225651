/**
 * A thread that waits for a robust or priority-inheriting mutex of glibc: pthread_mutex_lock has read
 * the thread's id before it waits, and will store it in the mutex when it gets it. The id that it holds
 * meanwhile, in a register or close to the top of its stack, must become the new one, or the mutex would
 * be owned by nobody. Facts: nptl/pthread_mutex_lock.c (__pthread_mutex_lock_full), glibc 2.36; futex(2).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { X86RegisterName, X86Registers } from '../image.ts';
import { isMutexOfTid } from '../word-search.ts';
import type { ProcessMemory } from './memory.ts';

const SYS_futex = 202n;
/** The registers that survive a call. */
const PRESERVED: readonly X86RegisterName[] = ['rbx', 'rbp', 'r12', 'r13', 'r14', 'r15'];
/** The frames of pthread_mutex_lock and of what it calls to wait. */
const FRAMES_SIZE = 256;
/** struct __pthread_mutex_s up to and with __kind. */
const MUTEX_SIZE = 20;

export interface KeptIds {
  readonly registers: readonly X86RegisterName[];
  /** Addresses of 32-bit words. */
  readonly words: readonly bigint[];
}

/** Where a thread that is about to make (again) the call that it waits in keeps its id. */
export function idsKeptInWait(
  tid: number,
  registers: X86Registers,
  memory: Pick<ProcessMemory, 'bytes'>,
): KeptIds {
  if (registers.rax !== SYS_futex || !isMutex(registers.rdi, memory)) return { registers: [], words: [] };
  const stack = viewOf(memory.bytes(registers.rsp, FRAMES_SIZE));
  const offsets = Array.from({ length: FRAMES_SIZE / 4 }, (_, i) => i * 4);
  return {
    registers: PRESERVED.filter(name => registers[name] === BigInt(tid)),
    words: offsets
      .filter(offset => stack.getInt32(offset, true) === tid)
      .map(offset => registers.rsp + BigInt(offset)),
  };
}

function isMutex(address: bigint, memory: Pick<ProcessMemory, 'bytes'>): boolean {
  if (address % 4n !== 0n) return false;
  const bytes = memory.bytes(address, MUTEX_SIZE);
  return isMutexOfTid(new Int32Array(bytes.buffer, bytes.byteOffset, MUTEX_SIZE / 4));
}
