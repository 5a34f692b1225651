/**
 * Eventfds. Whether one is a semaphore fdinfo tells from Linux 6.5 on; before, it is tried: a read takes one from a
 * semaphore, and all there is from a counter. What was taken or added is put right at once, while the process
 * stands; a process beside it that waits for the same eventfd may see that. Facts: eventfd(2), proc(5) (fdinfo).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { FileKind } from '../image.ts';
import { type HeldFile, infoOf } from './held-file.ts';
import { syscall } from './libc.ts';
import { eventsOf, POLL } from './poll.ts';

/** The least count at which the two differ. */
const TELLING = 2n;

export function eventfd(file: HeldFile): Extract<FileKind, { type: 'eventfd' }> {
  const count = BigInt(`0x${infoOf(file, 'eventfd-count')?.trim() ?? '0'}`);
  const told = infoOf(file, 'eventfd-semaphore');
  return {
    type: 'eventfd',
    count,
    semaphore: told === undefined ? isSemaphore(file.own, count) : told === '1',
  };
}

/** `own`: our duplicate of a descriptor whose counter has this value. Its value is the same afterwards. */
export function isSemaphore(own: number, count: bigint): boolean {
  const added = count < TELLING ? TELLING - count : 0n;
  if (added > 0n) add(own, added);
  const taken = take(own);
  const left = count + added - taken;
  for (let tooMany = left - count; tooMany > 0n; tooMany--) take(own);
  if (left < count) add(own, count - left);
  return taken === 1n;
}

function add(own: number, value: bigint): void {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  syscall('write', own, bytes, bytes.length);
}

/** 0 where nothing is there: a read would wait. */
function take(own: number): bigint {
  const bytes = new Uint8Array(8);
  if ((eventsOf(own, POLL.IN) & POLL.IN) !== 0) syscall('read', own, bytes, bytes.length);
  return viewOf(bytes).getBigUint64(0, true);
}
