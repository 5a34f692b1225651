/**
 * What the CPU holds of a thread, by architecture. Most of us need no more of it than `programCounter`,
 * `stackPointer` and `threadPointer`.
 * Facts: sys/user.h (x86-64), asm/ptrace.h (aarch64), linux/elf.h (NT_*).
 *
 * @module
 */
export type Arch = 'x86_64' | 'aarch64';

export type MachineState = X86State | ArmState;

export interface X86State {
  readonly arch: 'x86_64';
  readonly registers: X86Registers;
  /** The XSAVE area in the standard format, header and all (NT_X86_XSTATE). */
  readonly xstate: Uint8Array;
}

export interface ArmState {
  readonly arch: 'aarch64';
  readonly registers: ArmRegisters;
  /** TPIDR_EL0 (NT_ARM_TLS). */
  readonly threadPointer: bigint;
  /** `struct user_fpsimd_state`: v0 to v31, fpsr, fpcr, padding; 528 bytes (NT_PRFPREG). */
  readonly fpsimd: Uint8Array;
  /** `struct user_sve_header` and what follows it (NT_ARM_SVE); undefined where the CPU has no SVE. */
  readonly sve: Uint8Array | undefined;
}

/** x86-64 general registers by their names in `struct user_regs_struct`. */
export type X86Registers = Readonly<Record<X86RegisterName, bigint>>;

/** In the order of `struct user_regs_struct` (sys/user.h). */
export const X86_REGISTER_NAMES = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'orig_rax',
  'rip',
  'cs',
  'eflags',
  'rsp',
  'ss',
  'fs_base',
  'gs_base',
  'ds',
  'es',
  'fs',
  'gs',
] as const;
export type X86RegisterName = (typeof X86_REGISTER_NAMES)[number];

/** aarch64 general registers by their names in `struct user_pt_regs`. */
export type ArmRegisters = Readonly<Record<ArmRegisterName, bigint>>;

/** In the order of `struct user_pt_regs` (asm/ptrace.h). */
// biome-ignore format: four rows of registers
export const ARM_REGISTER_NAMES = [
  'x0', 'x1', 'x2', 'x3', 'x4', 'x5', 'x6', 'x7', 'x8', 'x9', 'x10',
  'x11', 'x12', 'x13', 'x14', 'x15', 'x16', 'x17', 'x18', 'x19', 'x20',
  'x21', 'x22', 'x23', 'x24', 'x25', 'x26', 'x27', 'x28', 'x29', 'x30',
  'sp', 'pc', 'pstate',
] as const;
export type ArmRegisterName = (typeof ARM_REGISTER_NAMES)[number];

export type RegisterName = X86RegisterName | ArmRegisterName;

interface HasMachine {
  readonly machine: MachineState;
}

/** Address of the next instruction. */
export const programCounter = ({ machine }: HasMachine): bigint =>
  machine.arch === 'x86_64' ? machine.registers.rip : machine.registers.pc;

/** The same state, at another instruction. */
export const withProgramCounter = (machine: MachineState, address: bigint): MachineState =>
  machine.arch === 'x86_64'
    ? { ...machine, registers: { ...machine.registers, rip: address } }
    : { ...machine, registers: { ...machine.registers, pc: address } };

export const stackPointer = ({ machine }: HasMachine): bigint =>
  machine.arch === 'x86_64' ? machine.registers.rsp : machine.registers.sp;

/** By which the thread finds its thread-local storage: the FS base, TPIDR_EL0. */
export const threadPointer = ({ machine }: HasMachine): bigint =>
  machine.arch === 'x86_64' ? machine.registers.fs_base : machine.threadPointer;
