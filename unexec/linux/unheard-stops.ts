/**
 * Node asks for the status of the children that it has started whenever SIGCHLD comes, and takes the stop of one that is
 * traced for its end: the stop would be lost to us, and the caller be told of an exit. So the kernel is to send SIGCHLD
 * for ends only. Facts: sigaction(2); uv__wait_children() of libuv 1.46; struct sigaction of asm/signal.h, the same on
 * x86-64 and AArch64: handler, flags, restorer, mask.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { syscall } from './libc.ts';

const SIGCHLD = 17;
const SA_NOCLDSTOP = 1n;
const FLAGS = 8;
const MASK_SIZE = 8;

/** From here on SIGCHLD tells of ends alone, as long as Node keeps its handler. */
export function leaveStopsUnheard(): void {
  const action = new Uint8Array(32);
  if (syscall('rt_sigaction', SIGCHLD, 0, action, MASK_SIZE) < 0) return;
  const view = viewOf(action);
  view.setBigUint64(FLAGS, view.getBigUint64(FLAGS, true) | SA_NOCLDSTOP, true);
  syscall('rt_sigaction', SIGCHLD, action, 0, MASK_SIZE);
}
