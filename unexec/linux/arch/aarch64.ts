/**
 * Tracing on aarch64. Facts: ptrace(2), syscall(2), asm/ptrace.h, linux/elf.h (NT_ARM_*),
 * Documentation/arm64/sve.rst and pointer-authentication.rst; arch/arm64/kernel/{ptrace,signal,syscall}.c of
 * Linux 6.1; AAPCS64, 6.4.5 ("The Stack"): no red zone, sp is a multiple of 16.
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import { type Reason, UnexecError } from '../../errors.ts';
import { ARM_REGISTER_NAMES, type ArmRegisters, type MachineState } from '../../machine-state.ts';
import type { Architecture, WaitingCall } from '../arch.ts';
import { ptrace, waitpid } from '../libc.ts';
import type { ProcessMemory } from '../memory.ts';
import { readProc } from '../proc.ts';
import { getRegisterSet, must, PTRACE, setRegisterSet } from '../ptrace.ts';
import type { Stop } from '../stop.ts';
import { fileOf, type RegisterFile, registersOf } from './register-file.ts';

/** Core note types of register sets (elf.h). */
const NT = {
  PRSTATUS: 1,
  PRFPREG: 2,
  ARM_TLS: 0x401,
  ARM_SYSTEM_CALL: 0x404,
  ARM_SVE: 0x405,
  ARM_SSVE: 0x40b,
  ARM_ZA: 0x40c,
} as const;
const SVC = Uint8Array.of(0x01, 0x00, 0x00, 0xd4);
const BRK = Uint8Array.of(0x00, 0x00, 0x20, 0xd4);
const INSTRUCTION_LENGTH = 4n;
const WALL = 0x40000000;
const REGISTERS_SIZE = ARM_REGISTER_NAMES.length * 8;
const FPSIMD_SIZE = 528;
/** `flags` of struct user_sve_header; set where SVE registers follow, rather than those of FPSIMD. */
const SVE_FLAGS = 12;
const SVE_PT_REGS_SVE = 1;
/** Bytes of `struct user_sve_header` and `struct user_za_header`: nothing follows where the state is not in use. */
const HEADER_SIZE = 16;
/** DBG_SPSR_SS in pstate: left there by a single step, and no state of the program's. */
const SINGLE_STEP = 1n << 21n;

const EINTR = -4n;
/** Its descriptor is closed even where it fails. */
const SYS_close = 57;
const SYS_futex = 98;
const SYS_nanosleep = 101;
const SYS_clock_nanosleep = 115;
const TIMER_ABSTIME = 1n;
const FUTEX_COMMAND = 0x7fn;
const FUTEX_WAIT = 0n;
const SYS_restart_syscall = 128n;
/** Calls that restart_syscall(2) continues: ppoll, futex, nanosleep, clock_nanosleep. */
const CONTINUED: ReadonlySet<bigint> = new Set([73n, 98n, 101n, 115n]);
/** `mov x8, #imm16` (movz), and the same of w8. */
const MOVZ_X8 = [0xd280_0008, 0x5280_0008] as const;
const IMMEDIATE = 0xffff << 5;
/** Instructions before an `svc` that are searched for the load of its number. */
const LOOK_BACK = 24;

const read = (file: RegisterFile): ArmRegisters => registersOf(file, ARM_REGISTER_NAMES);
const write = (registers: ArmRegisters): RegisterFile => fileOf(registers, ARM_REGISTER_NAMES);

export const AARCH64: Architecture = {
  systemCall: { instruction: SVC, alignment: 4 },
  breakpoint: { instruction: BRK, passed: 0n },

  getRegisters,
  setRegisters: (tid, file) => setRegisterSet(tid, NT.PRSTATUS, file),
  programCounter: file => read(file).pc,
  stackPointer: file => read(file).sp,
  firstArgument: file => read(file).x0,
  result: file => read(file).x0,
  atStack: (file, sp) => write({ ...read(file), sp }),
  atAddress: (file, address) => write({ ...read(file), pc: address }),
  atSystemCall: (file, pc, nr, [x0 = 0n, x1 = 0n, x2 = 0n, x3 = 0n, x4 = 0n, x5 = 0n]) =>
    write({ ...read(file), x0, x1, x2, x3, x4, x5, x8: BigInt(nr), pc }),
  atFunction: (file, _memory, { address, returnTo }) => {
    const before = read(file);
    const sp = before.sp & -16n;
    return { file: write({ ...before, pc: address, x30: returnTo, sp }), stackAfter: sp };
  },
  leaveSystemCall,
  callOf,
  undoInterruption,

  threadPointer,
  /** In a struct pthread of 200 bytes, which ends at the thread pointer (1.2). */
  muslTid: -168n,
  machineState: (tid, file) => ({
    arch: 'aarch64',
    registers: read(file),
    threadPointer: threadPointer(tid),
    fpsimd: getRegisterSet(tid, NT.PRFPREG) ?? new Uint8Array(FPSIMD_SIZE),
    sve: getRegisterSet(tid, NT.ARM_SVE),
  }),
  afterCalls,
  goingOn: (state, memory) =>
    state.arch === 'aarch64' ? { ...state, registers: startAgain(state.registers, memory) } : state,
  refuseThread,
};

/** Of a 32-bit thread the kernel gives 18 words of 32 bits. */
function getRegisters(tid: number): RegisterFile {
  const file = getRegisterSet(tid, NT.PRSTATUS, REGISTERS_SIZE);
  if (file === undefined) {
    throw new UnexecError('PROCESS_GONE', `process ${tid} ended while it was being read (registers)`);
  }
  if (file.length === REGISTERS_SIZE) return file;
  throw new UnexecError('THREAD_32_BIT', `thread ${tid} runs 32-bit code, which has registers of its own`, {
    hint: 'freeze a 64-bit build of the program',
  });
}

function threadPointer(tid: number): bigint {
  const tls = getRegisterSet(tid, NT.ARM_TLS);
  return tls === undefined ? 0n : viewOf(tls).getBigUint64(0, true);
}

/**
 * While a thread stands at entry or exit of a system call, x7 says which of the two it is, and what is written to
 * it is lost. Interrupted, the thread goes on to where signals are delivered, before its next instruction: there
 * all registers are its own, and the kernel has taken care of a call that was to be made again (do_signal):
 * x0 and pc are those from before the call.
 */
function leaveSystemCall(tid: number, stop: Stop): boolean {
  if (stop.type !== 'syscall-entry' && stop.type !== 'syscall-exit') return false;
  const before = read(getRegisters(tid));
  if (stop.type === 'syscall-entry') setRegisterSet(tid, NT.ARM_SYSTEM_CALL, noSystemCall());
  must('interrupted', tid, ptrace(PTRACE.INTERRUPT, tid, 0, 0));
  must('continued', tid, ptrace(PTRACE.CONT, tid, 0, 0));
  waitpid(tid, WALL);
  if (stop.type === 'syscall-entry') {
    const { x0, pc } = before;
    setRegisterSet(tid, NT.PRSTATUS, write({ ...read(getRegisters(tid)), x0, pc: pc - INSTRUCTION_LENGTH }));
  }
  return true;
}

/** NO_SYSCALL: an int of -1, with which the kernel goes straight to the exit. */
const noSystemCall = (): Uint8Array => new Uint8Array(4).fill(0xff);

/** An interrupted call's first argument is in no register any more, and ptrace does not tell orig_x0. */
function callOf(pid: number, tid: number): WaitingCall | undefined {
  let line: string;
  try {
    line = readProc(`/proc/${pid}/task/${tid}/syscall`);
  } catch {
    return undefined; // it has ended, or the kernel does not tell (CONFIG_HAVE_ARCH_TRACEHOOK)
  }
  const [nr = '', ...words] = line.trim().split(' ');
  if (!/^\d+$/.test(nr) || words.length !== 8) return undefined; // running; or -1, in no call
  const values = words.map(BigInt);
  return { nr: Number(nr), args: values.slice(0, 6), programCounter: values[7] ?? 0n };
}

function undoInterruption(
  tid: number,
  waitedIn: WaitingCall | undefined,
  code: (address: bigint, length: number) => Uint8Array,
): void {
  if (waitedIn === undefined) return;
  const registers = read(getRegisters(tid));
  const { x0, x1, x2, x3, x4, x5, x8, pc } = registers;
  const [first = 0n, ...others] = waitedIn.args;
  const start = waitedIn.programCounter - INSTRUCTION_LENGTH;
  const isSame = x8 === BigInt(waitedIn.nr) && [x1, x2, x3, x4, x5].every((x, i) => x === others[i]);
  if (!isSame) return;
  if (pc === waitedIn.programCounter && BigInt.asIntN(64, x0) === EINTR && waitedIn.nr !== SYS_close) {
    setRegisterSet(tid, NT.PRSTATUS, write({ ...registers, x0: first, pc: start }));
  } else if (
    pc === start &&
    x0 === first &&
    isContinued(waitedIn) &&
    continuedCall(pc, { bytes: code }) === x8
  ) {
    // Put back to its start a sleep would begin anew; the kernel still knows how much of it is left.
    setRegisterSet(tid, NT.PRSTATUS, write({ ...registers, x8: SYS_restart_syscall }));
  }
}

/** Calls whose interruption restart_syscall(2) ends, rather than a second call with the same arguments. */
function isContinued({ nr, args: [, second = 0n, , fourth = 0n] }: WaitingCall): boolean {
  switch (nr) {
    case SYS_nanosleep:
      return true;
    case SYS_clock_nanosleep:
      return (second & TIMER_ABSTIME) === 0n;
    case SYS_futex:
      return (second & FUTEX_COMMAND) === FUTEX_WAIT && fourth !== 0n;
    default:
      return false;
  }
}

/**
 * A system call leaves of the SVE registers only what FPSIMD has of them; and a thread that is still within one
 * could seem to have been interrupted in it.
 */
function afterCalls(tid: number, state: MachineState): void {
  setRegisterSet(tid, NT.ARM_SYSTEM_CALL, noSystemCall());
  const sve = state.arch === 'aarch64' ? state.sve : undefined;
  if (sve !== undefined && isLive(sve)) setRegisterSet(tid, NT.ARM_SVE, sve);
}

const isLive = (sve: Uint8Array): boolean => (viewOf(sve).getUint16(SVE_FLAGS, true) & SVE_PT_REGS_SVE) !== 0;

/**
 * The kernel itself has put the registers back from before an interrupted call. One that was interrupted
 * once already is on its way as restart_syscall(2), which means nothing to another process: its arguments are
 * still in their registers, and its number is in the instruction that loaded it, a few before the `svc`.
 */
export function startAgain(registers: ArmRegisters, memory: Pick<ProcessMemory, 'bytes'>): ArmRegisters {
  const pstate = registers.pstate & ~SINGLE_STEP;
  if (registers.x8 !== SYS_restart_syscall) return { ...registers, pstate };
  return { ...registers, pstate, x8: continuedCall(registers.pc, memory) };
}

function continuedCall(pc: bigint, memory: Pick<ProcessMemory, 'bytes'>): bigint {
  const code = viewOf(memory.bytes(pc - BigInt(LOOK_BACK * 4), (LOOK_BACK + 1) * 4));
  if (code.getUint32(LOOK_BACK * 4, true) !== viewOf(SVC).getUint32(0, true)) return SYS_restart_syscall;
  for (let at = (LOOK_BACK - 1) * 4; at >= 0; at -= 4) {
    const instruction = code.getUint32(at, true);
    const nr = BigInt((instruction & IMMEDIATE) >>> 5);
    const loads = MOVZ_X8.some(opcode => (instruction & ~IMMEDIATE) >>> 0 === opcode);
    if (loads && CONTINUED.has(nr)) return nr;
  }
  return SYS_restart_syscall; // it sees EINTR
}

/** Where the matrix extension is in use, there are registers that nothing here keeps. */
function refuseThread(tid: number, _state: MachineState): Reason[] {
  const inUse = [NT.ARM_SSVE, NT.ARM_ZA].some(type => (getRegisterSet(tid, type)?.length ?? 0) > HEADER_SIZE);
  if (!inUse) return [];
  return [
    {
      code: 'THREAD_SME',
      what: `thread ${tid} uses the matrix registers of SME, which are not kept`,
      remedy: 'choose a freeze point outside of its computation',
    },
  ];
}
