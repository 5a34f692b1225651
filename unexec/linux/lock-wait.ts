/**
 * A thread that waits for a robust or priority-inheriting mutex of glibc: pthread_mutex_lock has read
 * the thread's id before it waits, and will store it in the mutex when it gets it. The id that it holds
 * meanwhile, in a register or close to the top of its stack, must become the new one, or the mutex would
 * be owned by nobody. Facts: nptl/pthread_mutex_lock.c (__pthread_mutex_lock_full), glibc 2.36; futex(2).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import {
  type ArmState,
  type MachineState,
  type RegisterName,
  stackPointer,
  type X86State,
} from '../image.ts';
import { isMutexOfTid } from '../word-search.ts';
import type { ProcessMemory } from './memory.ts';
import { numberOf } from './system-calls.ts';

/** The frames of pthread_mutex_lock and of what it calls to wait. */
const FRAMES_SIZE = 256;
/** struct __pthread_mutex_s up to and with __kind. */
const MUTEX_SIZE = 20;

export interface KeptIds {
  readonly registers: readonly RegisterName[];
  /** Addresses of 32-bit words. */
  readonly words: readonly bigint[];
}

/** Where a thread that is about to make (again) the call that it waits in keeps its id. */
export function idsKeptInWait(
  tid: number,
  machine: MachineState,
  memory: Pick<ProcessMemory, 'bytes'>,
): KeptIds {
  const { call, word, preserved } = machine.arch === 'x86_64' ? x86Call(machine) : armCall(machine);
  if (call !== numberOf('futex', machine.arch) || !isMutex(word, memory)) return { registers: [], words: [] };
  const bottom = stackPointer({ machine });
  const stack = viewOf(memory.bytes(bottom, FRAMES_SIZE));
  const offsets = Array.from({ length: FRAMES_SIZE / 4 }, (_, i) => i * 4);
  return {
    registers: preserved.filter(([, value]) => value === BigInt(tid)).map(([name]) => name),
    words: offsets
      .filter(offset => stack.getInt32(offset, true) === tid)
      .map(offset => bottom + BigInt(offset)),
  };
}

/** A system call about to be made, and the registers that survive a call of a function. */
interface CallRegisters {
  readonly call: number;
  /** The first argument. */
  readonly word: bigint;
  readonly preserved: readonly (readonly [RegisterName, bigint])[];
}

function x86Call({ registers }: X86State): CallRegisters {
  const names = ['rbx', 'rbp', 'r12', 'r13', 'r14', 'r15'] as const;
  const preserved = names.map(name => [name, registers[name]] as const);
  return { call: Number(registers.rax), word: registers.rdi, preserved };
}

function armCall({ registers }: ArmState): CallRegisters {
  const names = ['x19', 'x20', 'x21', 'x22', 'x23', 'x24', 'x25', 'x26', 'x27', 'x28'] as const;
  const preserved = names.map(name => [name, registers[name]] as const);
  return { call: Number(registers.x8), word: registers.x0, preserved };
}

function isMutex(address: bigint, memory: Pick<ProcessMemory, 'bytes'>): boolean {
  if (address % 4n !== 0n) return false;
  const bytes = memory.bytes(address, MUTEX_SIZE);
  return isMutexOfTid(new Int32Array(bytes.buffer, bytes.byteOffset, MUTEX_SIZE / 4));
}
