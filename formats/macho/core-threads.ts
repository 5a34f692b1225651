/**
 * LC_THREAD in a core: a list of {flavor, count, state}, count in 32-bit words. Two writers differ: lldb gives
 * x86_THREAD_STATE64 as it is, xnu's kernel wraps it in an x86_THREAD_STATE, whose state begins with a flavor and
 * a count again; arm64 likewise. `mach/i386/thread_status.h`, `mach/arm/thread_status.h` and
 * `bsd/kern/mach_process.c` of xnu-11417; `ObjectFileMachO.cpp` of LLVM 19.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { type FieldValues, type Struct, viewOf } from '../struct.ts';
import { ARM_FLAVOR, CPU_TYPE, LC, X86_FLAVOR } from './constants.ts';
import { readThreadStates, type ThreadState } from './image.ts';
import type { OtherCommand } from './model.ts';
import {
  arm_exception_state64,
  arm_thread_state64,
  LE,
  load_command,
  thread_flavor,
  x86_exception_state64,
  x86_thread_state64,
} from './structs.ts';

/** A thread of a core. */
export interface CoreThread {
  /** General registers; undefined where the core has none, or in a flavor that nobody knows. */
  readonly registers: CoreRegisters | undefined;
  /** Why it stands, where the core tells. */
  readonly exception: x86_exception_state64 | arm_exception_state64 | undefined;
  /** Every state as it is in the core, wrapped or not. */
  readonly states: readonly ThreadState[];
}

export type CoreRegisters =
  | { readonly arch: 'x86_64'; readonly state: x86_thread_state64 }
  | { readonly arch: 'arm64'; readonly state: arm_thread_state64 };

export const programCounter = ({ arch, state }: CoreRegisters): bigint =>
  arch === 'x86_64' ? state.rip : state.pc;

export const stackPointer = ({ arch, state }: CoreRegisters): bigint =>
  arch === 'x86_64' ? state.rsp : state.sp;

/**
 * A thread from its load command.
 *
 * @throws FormatError `MACHO_BAD_COMMAND` where a state ends after the command does, `MACHO_BAD_THREAD` where one is too
 *   short for its flavor
 */
export function readThread(command: OtherCommand, cputype: number): CoreThread {
  const states = readThreadStates(command);
  const flavors = flavorsOf(cputype);
  const inner = states.map(state => (flavors.wrapped.has(state.flavor) ? unwrap(state) : state));
  const general = inner.find(({ flavor }) => flavor === flavors.general);
  const exception = inner.find(({ flavor }) => flavor === flavors.exception);
  return {
    registers: general && flavors.registers(general),
    exception: exception && flavors.readException(exception),
    states,
  };
}

/** A thread as a load command, from its states. */
export function encodeThread(states: readonly ThreadState[]): OtherCommand {
  const size = states.reduce((sum, { state }) => sum + thread_flavor.size + state.length, load_command.size);
  const command = new Uint8Array(Math.ceil(size / 8) * 8);
  const view = viewOf(command);
  load_command.write(view, 0, { cmd: LC.LC_THREAD, cmdsize: command.length }, LE);
  let at = load_command.size;
  for (const { flavor, state } of states) {
    thread_flavor.write(view, at, { flavor, count: state.length / 4 }, LE);
    command.set(state, at + thread_flavor.size);
    at += thread_flavor.size + state.length;
  }
  return { cmd: LC.LC_THREAD, bytes: command };
}

/** General registers as a state, of the flavor that lldb writes and every reader knows. */
export const registerState = ({ arch, state }: CoreRegisters): ThreadState =>
  arch === 'x86_64'
    ? { flavor: X86_FLAVOR.x86_THREAD_STATE64, state: x86_thread_state64.encode(state, LE) }
    : { flavor: ARM_FLAVOR.ARM_THREAD_STATE64, state: arm_thread_state64.encode(state, LE) };

/** The same state as xnu's kernel has it in cores. */
export function wrapState({ flavor, state }: ThreadState, wrapper: number): ThreadState {
  const wrapped = new Uint8Array(thread_flavor.size + state.length);
  thread_flavor.write(viewOf(wrapped), 0, { flavor, count: state.length / 4 }, LE);
  wrapped.set(state, thread_flavor.size);
  return { flavor: wrapper, state: wrapped };
}

interface Flavors {
  readonly general: number;
  readonly exception: number;
  readonly wrapped: ReadonlySet<number>;
  registers(state: ThreadState): CoreRegisters;
  readException(state: ThreadState): x86_exception_state64 | arm_exception_state64;
}

const X86: Flavors = {
  general: X86_FLAVOR.x86_THREAD_STATE64,
  exception: X86_FLAVOR.x86_EXCEPTION_STATE64,
  wrapped: new Set([X86_FLAVOR.x86_THREAD_STATE, X86_FLAVOR.x86_FLOAT_STATE, X86_FLAVOR.x86_EXCEPTION_STATE]),
  registers: state => ({ arch: 'x86_64', state: readState(state, x86_thread_state64) }),
  readException: state => readState(state, x86_exception_state64),
};

const ARM: Flavors = {
  general: ARM_FLAVOR.ARM_THREAD_STATE64,
  exception: ARM_FLAVOR.ARM_EXCEPTION_STATE64,
  wrapped: new Set([ARM_FLAVOR.ARM_THREAD_STATE]),
  registers: state => ({ arch: 'arm64', state: readState(state, arm_thread_state64) }),
  readException: state => readState(state, arm_exception_state64),
};

const flavorsOf = (cputype: number): Flavors => (cputype === CPU_TYPE.CPU_TYPE_ARM64 ? ARM : X86);

function unwrap({ flavor, state }: ThreadState): ThreadState {
  if (state.length < thread_flavor.size) throw badThread(flavor, state.length, 'a flavor and a count');
  const inner = thread_flavor.read(viewOf(state), 0, LE);
  // The wrapper is of the size of the largest state that it may hold.
  const size = inner.count * 4;
  const left = state.length - thread_flavor.size;
  if (size > left) throw badThread(inner.flavor, size, `at most ${hex(left)}`);
  return { flavor: inner.flavor, state: state.subarray(thread_flavor.size, thread_flavor.size + size) };
}

function readState<F>({ flavor, state }: ThreadState, of: Struct<F>): FieldValues<F> {
  if (state.length < of.size) throw badThread(flavor, state.length, `at least ${hex(of.size)}`);
  return of.read(viewOf(state), 0, LE);
}

const badThread = (flavor: number, size: number, expected: string): FormatError =>
  new FormatError(
    'MACHO_BAD_THREAD',
    `Mach-O: LC_THREAD has a state of flavor ${flavor} with ${hex(size)} bytes, expected ${expected}`,
    { value: size },
  );
