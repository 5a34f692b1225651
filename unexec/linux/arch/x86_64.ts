/**
 * Tracing on x86-64. Facts: ptrace(2), syscall(2), signal(7) («Interruption of system calls»), sys/user.h;
 * arch/x86/kernel/signal.c of Linux 6.1; System V ABI for x86-64, 3.2.2 ("The Stack Frame"): rsp + 8 is a
 * multiple of 16 at the entry of a function.
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { Reason } from '../../errors.ts';
import { type MachineState, X86_REGISTER_NAMES, type X86Registers } from '../../machine-state.ts';
import type { Architecture } from '../arch.ts';
import { ptrace, ptraceWith, waitpid } from '../libc.ts';
import type { ProcessMemory } from '../memory.ts';
import { getRegisterSet, must, PTRACE } from '../ptrace.ts';
import type { Stop } from '../stop.ts';
import { fileOf, type RegisterFile, registersOf } from './register-file.ts';

/** Core note type of the XSAVE area (elf.h). */
const NT_X86_XSTATE = 0x202;
const NO_SYSTEM_CALL = 0xffff_ffff_ffff_ffffn;
const SYSCALL = Uint8Array.of(0x0f, 0x05);
const SYSCALL_LENGTH = BigInt(SYSCALL.length);
const INT3 = Uint8Array.of(0xcc);
const WALL = 0x40000000;
/** Bytes below the stack pointer that belong to the function that was interrupted. */
const RED_ZONE = 128n;
const DIRECTION_FLAG = 0x400n;
/** __USER_CS (asm/segment.h). */
const CODE_SEGMENT_64 = 0x33n;

const EINTR = -4n;
/** «Make the call again unless a handler runs; then EINTR» (linux/errno.h): the kernel decides when it goes on. */
const ERESTARTNOHAND = -514n;
/** Its descriptor is closed even where it fails. */
const SYS_close = 3n;
const SYS_restart_syscall = 219n;
/** Calls that restart_syscall(2) continues: poll, nanosleep, futex, clock_nanosleep. */
const CONTINUED: ReadonlySet<number> = new Set([7, 35, 202, 230]);
const SYS_futex = 202n;
const FUTEX_WAIT_PRIVATE = 128n;
const MOV_EAX = 0xb8;
/** Bytes before a `syscall` instruction that are searched for the load of its number. */
const LOOK_BACK = 48;

/** Results that mean «make the call again» when no handler ran: ERESTARTSYS, NOINTR, NOHAND, RESTARTBLOCK. */
const RESTART = new Set([-512n, -513n, -514n, -516n]);

const read = (file: RegisterFile): X86Registers => registersOf(file, X86_REGISTER_NAMES);
const write = (registers: X86Registers): RegisterFile => fileOf(registers, X86_REGISTER_NAMES);

export const X86_64: Architecture = {
  systemCall: { instruction: SYSCALL, alignment: 1 },
  breakpoint: { instruction: INT3, passed: 1n },

  getRegisters,
  setRegisters,
  programCounter: file => read(file).rip,
  stackPointer: file => read(file).rsp,
  firstArgument: file => read(file).rdi,
  result: file => read(file).rax,
  atStack: (file, rsp) => write({ ...read(file), rsp }),
  atAddress: (file, address) => write({ ...read(file), rip: address }),
  atSystemCall,
  atFunction,
  leaveSystemCall,
  callOf: () => undefined, // orig_rax, and the arguments in their registers
  undoInterruption,

  threadPointer: (_tid, file) => read(file).fs_base,
  /** Since 1.1.20. */
  muslTid: 0x30n,
  machineState: (tid, file) => ({
    arch: 'x86_64',
    registers: read(file),
    xstate: getRegisterSet(tid, NT_X86_XSTATE) ?? new Uint8Array(),
  }),
  afterCalls: () => {},
  goingOn: (state, memory) =>
    state.arch === 'x86_64' ? { ...state, registers: restartSystemCall(state.registers, memory) } : state,
  refuseThread,
};

/** PTRACE_GETREGS has this layout of 32-bit threads too, so that those can be refused by name. */
function getRegisters(tid: number): RegisterFile {
  const file = new Uint8Array(X86_REGISTER_NAMES.length * 8);
  must('read (registers)', tid, ptraceWith(PTRACE.GETREGS, tid, 0, file));
  return file;
}

function setRegisters(tid: number, file: RegisterFile): void {
  must('written (registers)', tid, ptraceWith(PTRACE.SETREGS, tid, 0, file));
}

function atSystemCall(
  file: RegisterFile,
  instruction: bigint,
  nr: number,
  [rdi = 0n, rsi = 0n, rdx = 0n, r10 = 0n, r8 = 0n, r9 = 0n]: readonly bigint[],
): RegisterFile {
  return write({
    ...read(file),
    rax: BigInt(nr),
    ...{ rdi, rsi, rdx, r10, r8, r9 },
    rip: instruction,
    orig_rax: NO_SYSTEM_CALL,
  });
}

function atFunction(
  file: RegisterFile,
  memory: ProcessMemory,
  { address, returnTo }: { readonly address: bigint; readonly returnTo: bigint },
): { file: RegisterFile; stackAfter: bigint } {
  const before = read(file);
  const stack = ((before.rsp - RED_ZONE) & -16n) - 8n;
  const returnAddress = new Uint8Array(8);
  viewOf(returnAddress).setBigUint64(0, returnTo, true);
  memory.write(stack, returnAddress);
  const registers = {
    ...before,
    rip: address,
    rsp: stack,
    rax: 0n,
    rdi: 0n,
    rsi: 0n,
    rdx: 0n,
    rcx: 0n,
    // Not within a system call that would be made again.
    orig_rax: NO_SYSTEM_CALL,
    eflags: before.eflags & ~DIRECTION_FLAG,
  };
  return { file: write(registers), stackAfter: stack + 8n };
}

/** Only the entry needs it: the registers of a call that has been made are those that it returns with. */
function leaveSystemCall(tid: number, stop: Stop): boolean {
  if (stop.type !== 'syscall-entry') return false;
  // At once as it is to be: where we are killed now, the thread makes its call by itself. Without a number the kernel
  // makes none, and leaves rax alone.
  const registers = read(getRegisters(tid));
  const before = write({
    ...registers,
    rax: BigInt(stop.nr),
    rip: registers.rip - SYSCALL_LENGTH,
    orig_rax: NO_SYSTEM_CALL,
  });
  setRegisters(tid, before);
  must('stepped', tid, ptrace(PTRACE.SYSCALL, tid, 0, 0));
  waitpid(tid, WALL);
  setRegisters(tid, before);
  return true;
}

function undoInterruption(tid: number): void {
  const registers = read(getRegisters(tid));
  const nr = BigInt.asIntN(64, registers.orig_rax);
  if (nr < 0n || nr === SYS_close || BigInt.asIntN(64, registers.rax) !== EINTR) return;
  setRegisters(tid, write({ ...registers, rax: BigInt.asUintN(64, ERESTARTNOHAND) }));
}

/**
 * An interrupted call is made again from its start: the kernel's own way for most, and better than
 * EINTR for those that it would continue (a sleep): no program expects EINTR when no handler ran.
 */
export function restartSystemCall(
  registers: X86Registers,
  memory: Pick<ProcessMemory, 'bytes'>,
): X86Registers {
  const interrupted = BigInt.asIntN(64, registers.orig_rax) >= 0n;
  const again = interrupted && RESTART.has(BigInt.asIntN(64, registers.rax));
  const rip = again ? registers.rip - SYSCALL_LENGTH : registers.rip;
  const rax = again ? registers.orig_rax : registers.rax;
  return {
    ...registers,
    rax: rax === SYS_restart_syscall ? continuedCall({ ...registers, rip }, memory) : rax,
    rip,
    orig_rax: NO_SYSTEM_CALL,
  };
}

/**
 * A call that was interrupted once already is on its way as restart_syscall(2), which means nothing to
 * another process. Its arguments are still in their registers; its number is in the instruction that
 * loaded it (`mov eax, imm32`: b8 and the number), a few bytes before the `syscall` that it stands at.
 */
function continuedCall(registers: X86Registers, memory: Pick<ProcessMemory, 'bytes'>): bigint {
  const { rip } = registers;
  const code = Buffer.from(memory.bytes(rip - BigInt(LOOK_BACK), LOOK_BACK + SYSCALL.length));
  if (!code.subarray(LOOK_BACK).equals(SYSCALL)) return SYS_restart_syscall;
  for (let at = LOOK_BACK - 5; at >= 0; at--) {
    const nr = code.readUInt32LE(at + 1);
    if (code[at] === MOV_EAX && CONTINUED.has(nr)) return BigInt(nr);
  }
  return isFutexWait(registers) ? SYS_futex : SYS_restart_syscall; // which sees EINTR
}

/**
 * What goes through libc's syscall(3) has no number of its own before the instruction. There futex(2) is, which has
 * no function in libc: FUTEX_WAIT_PRIVATE with a timeout, the only operation of it that is continued.
 */
const isFutexWait = ({ rdi, rsi, r10 }: X86Registers): boolean =>
  BigInt.asUintN(32, rsi) === FUTEX_WAIT_PRIVATE && rdi !== 0n && rdi % 4n === 0n && r10 !== 0n;

/** 32-bit code (int 0x80, other registers and frames) would need a restorer of its own. */
function refuseThread(tid: number, state: MachineState): Reason[] {
  if (state.arch !== 'x86_64' || state.registers.cs === CODE_SEGMENT_64) return [];
  return [
    {
      code: 'THREAD_32_BIT',
      what: `thread ${tid} runs 32-bit code (cs is 0x${state.registers.cs.toString(16)}, expected 0x33)`,
      remedy: 'freeze a 64-bit build of the program',
    },
  ];
}
