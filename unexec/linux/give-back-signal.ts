/**
 * A thread that was stopped with a signal on its way, and has been made to call since, is not in that stop any
 * more: the signal would be lost, or come without its origin and value. It is made pending again, before what
 * waits behind it. Facts: ptrace(2) ("Signal-delivery-stop"), rt_sigqueueinfo(2), sigwaitinfo(2), signal(7)
 * ("Queueing and delivery semantics for real-time signals").
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { ProcessMemory } from './memory.ts';
import { peekPendingSignals } from './ptrace.ts';
import type { RemoteThread } from './remote.ts';

const SIGINFO_SIZE = 128;
/** Bytes of the signal set that calls take. */
const SET_SIZE = 8;

/**
 * @param info siginfo_t of the signal
 * @param scratch writable memory of the process, 160 bytes
 */
export function giveBackSignal(
  pid: number,
  remote: RemoteThread,
  info: Uint8Array,
  memory: Pick<ProcessMemory, 'write'>,
  scratch: bigint,
): void {
  const signal = viewOf(info).getInt32(0, true);
  const set = new Uint8Array(SET_SIZE);
  viewOf(set).setBigUint64(0, 1n << BigInt(signal - 1), true);
  const setAddress = scratch + BigInt(SIGINFO_SIZE);
  const noTime = setAddress + BigInt(SET_SIZE);
  memory.write(setAddress, Uint8Array.of(...set, ...new Uint8Array(16)));
  const behind = peekPendingSignals(remote.tid, false).filter(
    other => viewOf(other).getInt32(0, true) === signal,
  );
  const queue = (one: Uint8Array): void => {
    memory.write(scratch, one);
    remote.call('rt_tgsigqueueinfo', pid, remote.tid, signal, scratch);
  };
  queue(info);
  // Queues are first in, first out: those that were there before are taken out, and put in again behind it.
  for (const other of behind) {
    remote.call('rt_sigtimedwait', setAddress, 0, noTime, SET_SIZE);
    queue(other);
  }
}
