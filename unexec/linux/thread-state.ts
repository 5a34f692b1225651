/**
 * The state of one stopped thread, made ready to go on somewhere else: an interrupted system call is
 * made again, a restartable sequence is aborted. Facts: rseq(2) (linux/rseq.h).
 *
 * @module
 */

import { viewOf } from '../../formats/struct.ts';
import {
  type AltStack,
  type MachineState,
  programCounter,
  type Rseq,
  type Thread,
  threadPointer,
  withProgramCounter,
} from '../image.ts';
import { ARCHITECTURE } from './arch.ts';
import { ptraceWith, syscall } from './libc.ts';
import { idsKeptInWait } from './lock-wait.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc } from './proc.ts';
import { getSignalInfo, PTRACE, peekPendingSignals } from './ptrace.ts';
import type { RemoteThread } from './remote.ts';
import { captureScheduling } from './scheduling.ts';
import { SIGNAL, type Stop } from './stop.ts';

const PR_GET_TID_ADDRESS = 40;

/** Reads a stopped thread. `scratch`: writable memory of the process, 64 bytes that may be overwritten. */
export function captureThread(
  pid: number,
  remote: RemoteThread,
  stop: Stop,
  memory: ProcessMemory,
  scratch: bigint,
): Thread {
  const { tid } = remote;
  const pending = pendingSignals(tid, stop);
  const rseq = readRseq(tid);
  const clearTid = readClearTid(remote, memory, scratch);
  const interrupted = ARCHITECTURE.goingOn(remote.machine, memory);
  const machine = abortSequence(interrupted, rseq, memory);
  const kept = idsKeptInWait(tid, machine, memory);
  return {
    tid,
    name: readProc(`/proc/${pid}/task/${tid}/comm`).replace(/\n$/, ''),
    machine,
    stood: remote.machine,
    signalMask: remote.signalMask,
    altStack: readAltStack(remote, memory, scratch),
    clearTid,
    robustList: readRobustList(tid),
    rseq,
    scheduling: captureScheduling(remote),
    tidWords: [...tidWords(tid, clearTid, threadPointer({ machine }), memory), ...kept.words],
    tidRegisters: kept.registers,
    pendingSignals: pending,
  };
}

/** What it was about to get is known until it is made to call anything: then it stands in another stop. */
function pendingSignals(tid: number, stop: Stop): Uint8Array[] {
  const pending = peekPendingSignals(tid, false);
  return isAboutToGetSignal(stop) ? [getSignalInfo(tid), ...pending] : pending;
}

/** A signal of the program's is on its way; of a captured thread it is the first one that waits. */
export const isAboutToGetSignal = (stop: Stop): boolean =>
  stop.type === 'signal' && stop.signal !== SIGNAL.SIGSTOP && stop.signal !== SIGNAL.SIGTRAP;

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
  machine: MachineState,
  rseq: Rseq | undefined,
  memory: Pick<ProcessMemory, 'bytes'>,
): MachineState {
  if (rseq === undefined) return machine;
  const section = viewOf(memory.bytes(rseq.address + 8n, 8)).getBigUint64(0, true);
  if (section === 0n) return machine;
  const view = viewOf(memory.bytes(section, 32));
  const start = view.getBigUint64(8, true);
  const length = view.getBigUint64(16, true);
  const at = programCounter({ machine });
  return at >= start && at < start + length
    ? withProgramCounter(machine, view.getBigUint64(24, true))
    : machine;
}

function readAltStack(remote: RemoteThread, memory: ProcessMemory, scratch: bigint): AltStack {
  remote.call('sigaltstack', 0, scratch);
  const view = viewOf(memory.bytes(scratch, 24));
  return {
    sp: view.getBigUint64(0, true),
    flags: view.getInt32(8, true),
    size: Number(view.getBigUint64(16, true)),
  };
}

/** Needs CONFIG_CHECKPOINT_RESTORE; without it the thread is taken to have none. */
function readClearTid(remote: RemoteThread, memory: ProcessMemory, scratch: bigint): bigint {
  if (remote.call('prctl', PR_GET_TID_ADDRESS, scratch) < 0n) return 0n;
  return viewOf(memory.bytes(scratch, 8)).getBigUint64(0, true);
}

function readRobustList(tid: number): bigint {
  const head = new Uint8Array(8);
  const length = new Uint8Array(8);
  if (syscall('get_robust_list', tid, head, length) < 0) return 0n;
  return viewOf(head).getBigUint64(0, true);
}

/** glibc keeps its cached tid where it has the kernel clear it; musl at a fixed place of its own. */
function tidWords(tid: number, clearTid: bigint, pointer: bigint, memory: ProcessMemory): bigint[] {
  const holdsTid = (address: bigint): boolean => viewOf(memory.bytes(address, 4)).getUint32(0, true) === tid;
  const candidates = [clearTid, pointer === 0n ? 0n : pointer + ARCHITECTURE.muslTid];
  return candidates.filter(address => address !== 0n && holdsTid(address));
}
