/**
 * The restore program: what a `resume` executable does before the process goes on, as data. Each step
 * is one record of 64 bytes that the restorer (x86_64.S, aarch64.S) interprets: a system call with six arguments,
 * or one of a handful of operations. An argument is a constant or a slot that an earlier step filled.
 *
 * @module
 */
import { array, struct, u16, u64 } from '../../formats/struct.ts';
import { numberOf, type SystemCall } from '../linux/system-calls.ts';
import type { Arch } from '../machine-state.ts';

/** Operations, in the order of the restorer's jump table. CPUID and XGETBV fail on aarch64. */
export const OP = {
  SYSCALL: 0,
  SET: 1,
  LOAD: 2,
  LOAD32: 3,
  STORE: 4,
  STORE32: 5,
  COPY: 6,
  COMPARE: 7,
  AT_MOST: 8,
  CPUID: 9,
  XGETBV: 10,
  RELOCATE: 11,
  CLONE: 12,
  AWAIT: 13,
  SIGRETURN: 14,
  /**
   * Fails, as a required step does: one line, and then the step in SLOT.FALLBACK, or the end. Its name is followed by
   * the a2 bytes at a1, and, where a0 is -errno (a kept result), by the name of that error.
   */
  FAIL: 15,
  /**
   * Decompresses the LZ4 block of a1 bytes at a0 into exactly a3 bytes at a2. A block that is anything but
   * that fails (required), or skips a4 steps; in any case nothing outside of both is read or written.
   */
  LZ4: 16,
  /** The value of entry a0 of the auxiliary vector that the new process was given, 0 without it, to dst. */
  AUXV: 17,
  /** a0 has all bits of a1; otherwise fails (required), or skips a2 steps. */
  HAS_BITS: 18,
  /** a0 becomes the thread pointer: the FS base, TPIDR_EL0. */
  THREAD_POINTER: 19,
  /** a1 bytes at a0 were written as data, and may be executed from now on. Nothing to do on x86-64. */
  SYNC_CODE: 20,
} as const;
export type OpName = keyof typeof OP;

/** Slots that the restorer itself fills or reads. */
export const SLOT = {
  /** Results that nobody wants. */
  DISCARD: 0,
  SP: 1,
  ARGC: 2,
  ARGV: 3,
  ENVP: 4,
  AUXV: 5,
  STRINGS_END: 6,
  ARG_START: 7,
  ENV_START: 8,
  ENV_END: 9,
  PROGRAM: 10,
  NAMES: 11,
  ERRNOS: 12,
  PREFIX: 13,
  PREFIX_LENGTH: 14,
  ERRNO_COUNT: 15,
  /** Address of the step at which the program goes on, once, after a failure; 0: it ends. */
  FALLBACK: 16,
  /** With which it ends then. */
  EXIT_STATUS: 17,
  /** Where a handler of signals returned to (the restorer's own, HANDLER_OFFSET; aarch64). */
  TRAMPOLINE: 18,
  FIRST_FREE: 19,
} as const;
/** Slots fill one page, less the last 128 bytes, which the restorer needs for its message. */
export const SLOT_COUNT = 0xf80 / 8;

/** Results above this, seen as unsigned, are errors of a system call. */
export const LARGEST_RESULT = 0xffff_ffff_ffff_f000n;

/** The value that an earlier step left in a slot. */
export interface Slot {
  readonly slot: number;
}

/** Address of a piece of the restorer's data, known when the data is laid out. */
export interface DataRef {
  readonly data: number;
  readonly offset: number;
}

/** Address of a step of the program, by a label. */
export interface LabelRef {
  readonly label: string;
}

export type StepArgument = bigint | number | Slot | DataRef | LabelRef;

export interface Step {
  readonly op: OpName;
  /** Fails with one line on stderr and status 125, rather than going on, when it fails. */
  readonly required: boolean;
  /** What it does, for messages and listings: `open descriptor 5 (/tmp/x)`. */
  readonly name: string;
  readonly args: readonly StepArgument[];
  /** The system call (SYSCALL, CLONE). */
  readonly nr: SystemCall | undefined;
  /** Slot for the result. */
  readonly dst: number;
  /** Other steps refer to it by this. */
  readonly label?: string;
}

/** struct step of x86_64.S. */
export const step = struct({
  op: u16,
  flags: u16,
  dst: u16,
  mask: u16,
  args: array(u64, 6),
  nr: u64,
});

const FLAG_REQUIRED = 1;
const NR_BIT = 6;

/** Encodes steps for an architecture; `resolve` gives the address of data and labels. */
export function encodeSteps(
  steps: readonly Step[],
  arch: Arch,
  resolve: (ref: DataRef | LabelRef) => bigint,
): Uint8Array {
  const out = new Uint8Array(steps.length * step.size);
  const view = new DataView(out.buffer);
  for (const [i, item] of steps.entries()) {
    let mask = 0;
    const args = Array.from({ length: 6 }, (_, n) => {
      const arg = item.args[n] ?? 0n;
      if (typeof arg === 'bigint' || typeof arg === 'number') return BigInt.asUintN(64, BigInt(arg));
      if ('slot' in arg) {
        mask |= 1 << n;
        return BigInt(arg.slot);
      }
      return resolve(arg);
    });
    step.write(
      view,
      i * step.size,
      {
        op: OP[item.op],
        flags: item.required ? FLAG_REQUIRED : 0,
        dst: item.dst,
        mask: mask & ((1 << NR_BIT) - 1),
        args,
        nr: BigInt(item.nr === undefined ? 0 : numberOf(item.nr, arch)),
      },
      true,
    );
  }
  return out;
}
