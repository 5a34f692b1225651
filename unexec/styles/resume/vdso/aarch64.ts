/**
 * The vdso of aarch64, which cannot be asked for: the one that the new process has is moved. It is needed in any
 * case, as the kernel lets handlers of signals return through it: where it is not the vdso of the process that
 * was frozen, it stays in the restorer's window, and the process has its own, which makes system calls.
 * Where there is none at all (qemu's user emulation before 8.2), the code that handlers return through is found by
 * a signal, and made again at its place.
 * Facts: arch/arm64/kernel/vdso.c, signal.c and vdso/vdso.lds.S of Linux 6.1; mremap(2).
 *
 * @module
 */
import { viewOf } from '../../../../formats/struct.ts';
import { PAGE, type ProcessImage, type Region, type Vdso } from '../../../image.ts';
import { numberOf } from '../../../linux/system-calls.ts';
import { HANDLER_OFFSET } from '../../../restorer/machine-code.ts';
import type { RestoreProgram } from '../../../restorer/program.ts';
import { LARGEST_RESULT, SLOT, type Slot, type StepArgument } from '../../../restorer/steps.ts';
import { NR, type SystemCall } from '../system-calls.ts';
import type { Window } from '../window.ts';

const AT_SYSINFO_EHDR = 33;
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
/** Ignored by who does not handle it. */
const SIGWINCH = 28;
/** handler, flags, restorer, mask. */
const SIGACTION_SIZE = 32;
const PROT_READ_WRITE = 3;
const PROT_READ_EXEC = 5;
/** Where the kernel does not know MAP_FIXED_NOREPLACE, the address is but a wish. */
const MAP_PRIVATE_ANONYMOUS_NOREPLACE = 0x10_0022;
const MREMAP_MAYMOVE_FIXED = 3;
/** Pages of code that a vdso may have: Linux 6.1 has one, 6.12 two. */
const MOST_PAGES = 4;

/** Function of the vdso -> system call with the same arguments and result. __kernel_rt_sigreturn is one already. */
const CALLS: ReadonlyMap<string, SystemCall> = new Map<string, SystemCall>([
  ['__kernel_clock_gettime', 'clock_gettime'],
  ['__kernel_gettimeofday', 'gettimeofday'],
  ['__kernel_clock_getres', 'clock_getres'],
]);
/** Its callers make the system call themselves when it answers -ENOSYS. */
const UNAVAILABLE: ReadonlySet<string> = new Set(['__kernel_getrandom']);
const ENOSYS = 38;

const BTI_C = 0xd503245f;
const SVC = 0xd4000001;
const RET = 0xd65f03c0;
const MOVZ_X8 = 0xd2800008;
const MOVN_X0 = 0x92800000;

export function armReplacement(name: string): Uint8Array | undefined {
  const call = CALLS.get(name);
  if (call !== undefined) return systemCall(numberOf(call, 'aarch64'));
  return UNAVAILABLE.has(name) ? error(ENOSYS) : undefined;
}

/** bti c; mov x8, nr; svc 0; ret */
const systemCall = (nr: number): Uint8Array => words([BTI_C, MOVZ_X8 | (nr << 5), SVC, RET]);

/** bti c; mov x0, -errno; ret */
const error = (errno: number): Uint8Array => words([BTI_C, MOVN_X0 | ((errno - 1) << 5), RET]);

function words(instructions: readonly number[]): Uint8Array {
  const code = new Uint8Array(instructions.length * 4);
  const view = new DataView(code.buffer);
  for (const [i, instruction] of instructions.entries()) view.setUint32(i * 4, instruction >>> 0, true);
  return code;
}

/** A vdso that was moved out of the way. */
export interface ParkedVdso {
  /** An error where not all of it, data and code, was moved: it may be moved on to where the process knows it. */
  readonly whole: Slot;
}

/**
 * Moves the vdso of the new process into the window, before all else is unmapped: with its data where
 * `same` (a result) is none of another kernel, else its code alone, whose size is found out.
 */
export function parkVdso(
  program: RestoreProgram,
  image: ProcessImage,
  window: Window,
  same: Slot,
): ParkedVdso {
  const whole = program.slot();
  program.operation('SET', 'not moved', [0, 0, 1], { into: whole });
  const base = program.slot();
  program.operation('AUXV', 'find the vdso', [AT_SYSINFO_EHDR], { into: base });
  const parts = partsOf(image);
  const { vdso } = image;
  program.unless('AT_MOST', 'there is a vdso', [1, base], () => findTrampoline(program, window));
  program.when('AT_MOST', 'there is a vdso', [1, base], () => {
    program.when('AT_MOST', 'same kernel', [same, LARGEST_RESULT], () => {
      if (vdso === undefined) return;
      const from = (part: Region): Slot => {
        const at = program.slot();
        program.operation('SET', 'part of the vdso', [base, part.start, vdso.start], { into: at });
        return at;
      };
      moveParts(program, parts, whole, from, part => parkedAt(part, vdso, window));
    });
    program.unless('AT_MOST', 'moved', [whole, LARGEST_RESULT], () => {
      const moved = program.slot();
      parkCode(program, base, window.parking, moved, MOST_PAGES);
    });
  });
  return { whole };
}

/** Moves a whole vdso on to where the process knows it; `mapped` becomes an error where there is none. */
export function settleVdso(
  program: RestoreProgram,
  image: ProcessImage,
  window: Window,
  parked: ParkedVdso,
  mapped: Slot,
): void {
  const { vdso } = image;
  if (vdso === undefined) return;
  program.when('AT_MOST', 'the vdso is parked', [parked.whole, LARGEST_RESULT], () => {
    const from = (part: Region): bigint => parkedAt(part, vdso, window);
    moveParts(program, partsOf(image), mapped, from, part => part.start);
  });
}

/** Sends a signal to the restorer's own handler, which keeps where it returns to. */
function findTrampoline(program: RestoreProgram, window: Window): void {
  const handler = new Uint8Array(SIGACTION_SIZE);
  viewOf(handler).setBigUint64(0, window.code + BigInt(HANDLER_OFFSET), true);
  const mask = new Uint8Array(8);
  viewOf(mask).setBigUint64(0, 1n << BigInt(SIGWINCH - 1), true);
  const maskRef = program.data(mask);
  const pid = program.slot();
  const tid = program.slot();
  const act = (action: Uint8Array): void =>
    program.syscall('handler of a signal', NR.rt_sigaction, [SIGWINCH, program.data(action), 0, 8]);
  act(handler);
  program.syscall('process id', NR.getpid, [], { into: pid });
  program.syscall('thread id', NR.gettid, [], { into: tid });
  program.syscall('signal to itself', NR.tgkill, [pid, tid, SIGWINCH]);
  program.syscall('receive the signal', NR.rt_sigprocmask, [SIG_UNBLOCK, maskRef, 0, 8]);
  program.syscall('block signals', NR.rt_sigprocmask, [SIG_BLOCK, maskRef, 0, 8]);
  act(new Uint8Array(SIGACTION_SIZE));
}

/**
 * Makes the code that handlers return through again, where a signal has found it. To come after all mappings: one of
 * the process may have the same code in the same place.
 */
export function trampolineSteps(program: RestoreProgram): void {
  if (program.arch !== 'aarch64') return;
  const at: Slot = { slot: SLOT.TRAMPOLINE };
  const mapped = program.slot();
  program.when('AT_MOST', 'there was no vdso', [1, at], () => {
    program.syscall(
      'room for the return of handlers',
      NR.mmap,
      [at, PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NOREPLACE, -1, 0],
      { bestEffort: true, into: mapped },
    );
    program.when('AT_MOST', 'there', [mapped, at], () => {
      program.when('AT_MOST', 'there', [at, mapped], () => {
        const code = words([MOVZ_X8 | (numberOf('rt_sigreturn', 'aarch64') << 5), SVC]);
        program.operation('COPY', 'return of handlers', [at, program.data(code), code.length]);
        program.operation('SYNC_CODE', 'return of handlers', [at, code.length]);
        program.syscall('return of handlers', NR.mprotect, [at, PAGE, PROT_READ_EXEC]);
      });
    });
  });
}

const partsOf = ({ regions }: ProcessImage): Region[] =>
  regions.filter(({ kind }) => kind === 'vvar' || kind === 'vdso');

const parkedAt = (part: Region, vdso: Vdso, window: Window): bigint =>
  window.parking + (part.start - vdso.vvarStart);

/** Moves one part after the other, until one fails; `result` is that of the last. */
function moveParts(
  program: RestoreProgram,
  [part, ...rest]: readonly Region[],
  result: Slot,
  from: (part: Region) => StepArgument,
  to: (part: Region) => bigint,
): void {
  if (part === undefined) return;
  const { size } = part;
  const args = [from(part), size, size, MREMAP_MAYMOVE_FIXED, to(part)];
  program.syscall(`move ${part.name}`, NR.mremap, args, { bestEffort: true, into: result });
  if (rest.length === 0) return;
  program.when('AT_MOST', 'moved', [result, LARGEST_RESULT], () =>
    moveParts(program, rest, result, from, to),
  );
}

/** More pages than it has are refused, fewer are never tried. */
function parkCode(program: RestoreProgram, base: Slot, to: bigint, moved: Slot, pages: number): void {
  const size = pages * PAGE;
  program.syscall('park the vdso', NR.mremap, [base, size, size, MREMAP_MAYMOVE_FIXED, to], {
    bestEffort: true,
    into: moved,
  });
  if (pages === 1) return;
  program.unless('AT_MOST', 'parked', [moved, LARGEST_RESULT], () =>
    parkCode(program, base, to, moved, pages - 1),
  );
}
