/**
 * The state of one stopped thread, made ready to go on somewhere else: an interrupted system call is
 * made again, a restartable sequence is aborted. Facts: rseq(2) (linux/rseq.h), signal(7)
 * («Interruption of system calls»), arch/x86/kernel/signal.c of Linux 6.1.
 *
 * @module
 */

import { viewOf } from '../../formats/struct.ts';
import type { AltStack, Rseq, Thread, X86Registers } from '../image.ts';
import { ptraceWith, syscall } from './libc.ts';
import { idsKeptInWait } from './lock-wait.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc } from './proc.ts';
import { getRegisterSet, getSignalInfo, NT_X86_XSTATE, PTRACE, peekPendingSignals } from './ptrace.ts';
import type { RemoteThread } from './remote.ts';
import { captureScheduling } from './scheduling.ts';
import { SIGNAL, type Stop } from './stop.ts';

const SYS_sigaltstack = 131;
const SYS_prctl = 157;
const PR_GET_TID_ADDRESS = 40;
const NO_SYSTEM_CALL = 0xffff_ffff_ffff_ffffn;
/** Length of the `syscall` instruction. */
const SYSCALL_LENGTH = 2n;
/** Offset of `tid` in musl's struct pthread (since 1.1.20), which keeps it elsewhere than glibc. */
const MUSL_TID = 0x30n;

const SYS_restart_syscall = 219n;
/** Calls that restart_syscall(2) continues: poll, nanosleep, futex, clock_nanosleep. */
const CONTINUED: ReadonlySet<number> = new Set([7, 35, 202, 230]);
const SYSCALL = Buffer.of(0x0f, 0x05);
const MOV_EAX = 0xb8;
/** Bytes before a `syscall` instruction that are searched for the load of its number. */
const LOOK_BACK = 48;

/** Results that mean «make the call again» when no handler ran: ERESTARTSYS, NOINTR, NOHAND, RESTARTBLOCK. */
const RESTART = new Set([-512n, -513n, -514n, -516n]);

/** Reads a stopped thread. `scratch`: writable memory of the process, 64 bytes that may be overwritten. */
export function captureThread(
  pid: number,
  remote: RemoteThread,
  stop: Stop,
  memory: ProcessMemory,
  scratch: bigint,
): Thread {
  const { tid } = remote;
  const rseq = readRseq(tid);
  const clearTid = readClearTid(remote, memory, scratch);
  const pending = peekPendingSignals(tid, false);
  if (stop.type === 'signal' && stop.signal !== SIGNAL.SIGSTOP && stop.signal !== SIGNAL.SIGTRAP) {
    pending.unshift(getSignalInfo(tid));
  }
  const registers = abortSequence(restartSystemCall(remote.registers, memory), rseq, memory);
  const kept = idsKeptInWait(tid, registers, memory);
  return {
    tid,
    name: readProc(`/proc/${pid}/task/${tid}/comm`).replace(/\n$/, ''),
    machine: {
      arch: 'x86_64',
      registers,
      xstate: getRegisterSet(tid, NT_X86_XSTATE) ?? new Uint8Array(),
    },
    signalMask: remote.signalMask,
    altStack: readAltStack(remote, memory, scratch),
    clearTid,
    robustList: readRobustList(tid),
    rseq,
    scheduling: captureScheduling(remote),
    tidWords: [...tidWords(tid, clearTid, remote.registers.fs_base, memory), ...kept.words],
    tidRegisters: kept.registers,
    pendingSignals: pending,
  };
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
    rax: rax === SYS_restart_syscall ? continuedCall(rip, memory) : rax,
    rip,
    orig_rax: NO_SYSTEM_CALL,
  };
}

/**
 * A call that was interrupted once already is on its way as restart_syscall(2), which means nothing to
 * another process. Its arguments are still in their registers; its number is in the instruction that
 * loaded it (`mov eax, imm32`: b8 and the number), a few bytes before the `syscall` that it stands at.
 */
function continuedCall(rip: bigint, memory: Pick<ProcessMemory, 'bytes'>): bigint {
  const code = Buffer.from(memory.bytes(rip - BigInt(LOOK_BACK), LOOK_BACK + SYSCALL.length));
  if (!code.subarray(LOOK_BACK).equals(SYSCALL)) return SYS_restart_syscall;
  for (let at = LOOK_BACK - 5; at >= 0; at--) {
    const nr = code.readUInt32LE(at + 1);
    if (code[at] === MOV_EAX && CONTINUED.has(nr)) return BigInt(nr);
  }
  return SYS_restart_syscall; // it sees EINTR
}

/** struct ptrace_rseq_configuration: rseq_abi_pointer, rseq_abi_size, signature, flags. */
function readRseq(tid: number): Rseq | undefined {
  const configuration = new Uint8Array(24);
  if (ptraceWith(PTRACE.GET_RSEQ_CONFIGURATION, tid, 24, configuration) < 0) return undefined;
  const view = viewOf(configuration);
  const address = view.getBigUint64(0, true);
  if (address === 0n) return undefined;
  return { address, length: view.getUint32(8, true), signature: view.getUint32(12, true) };
}

/** Inside a critical section the thread goes on at its abort handler, as after any preemption. */
export function abortSequence(
  registers: X86Registers,
  rseq: Rseq | undefined,
  memory: Pick<ProcessMemory, 'bytes'>,
): X86Registers {
  if (rseq === undefined) return registers;
  const section = viewOf(memory.bytes(rseq.address + 8n, 8)).getBigUint64(0, true);
  if (section === 0n) return registers;
  const view = viewOf(memory.bytes(section, 32));
  const start = view.getBigUint64(8, true);
  const length = view.getBigUint64(16, true);
  const inside = registers.rip >= start && registers.rip < start + length;
  return inside ? { ...registers, rip: view.getBigUint64(24, true) } : registers;
}

function readAltStack(remote: RemoteThread, memory: ProcessMemory, scratch: bigint): AltStack {
  remote.call(SYS_sigaltstack, 0, scratch);
  const view = viewOf(memory.bytes(scratch, 24));
  return {
    sp: view.getBigUint64(0, true),
    flags: view.getInt32(8, true),
    size: Number(view.getBigUint64(16, true)),
  };
}

/** Needs CONFIG_CHECKPOINT_RESTORE; without it the thread is taken to have none. */
function readClearTid(remote: RemoteThread, memory: ProcessMemory, scratch: bigint): bigint {
  if (remote.call(SYS_prctl, PR_GET_TID_ADDRESS, scratch) < 0n) return 0n;
  return viewOf(memory.bytes(scratch, 8)).getBigUint64(0, true);
}

function readRobustList(tid: number): bigint {
  const head = new Uint8Array(8);
  const length = new Uint8Array(8);
  if (syscall('get_robust_list', tid, head, length) < 0) return 0n;
  return viewOf(head).getBigUint64(0, true);
}

/** glibc keeps its cached tid where it has the kernel clear it; musl at a fixed place of its own. */
function tidWords(tid: number, clearTid: bigint, fsBase: bigint, memory: ProcessMemory): bigint[] {
  const holdsTid = (address: bigint): boolean => viewOf(memory.bytes(address, 4)).getUint32(0, true) === tid;
  const candidates = [clearTid, fsBase === 0n ? 0n : fsBase + MUSL_TID];
  return candidates.filter(address => address !== 0n && holdsTid(address));
}
