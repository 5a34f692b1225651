/**
 * What is so with a descriptor of our own at this moment. Facts: poll(2).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { syscall } from './libc.ts';

export const POLL = { IN: 1, ERR: 8, HUP: 16 } as const;

/** Which of the events are, without waiting; POLLERR and POLLHUP are told unasked. */
export function eventsOf(fd: number, events: number): number {
  const pollfd = new Uint8Array(8);
  const view = viewOf(pollfd);
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
  const atOnce = new Uint8Array(16);
  return syscall('ppoll', pollfd, 1, atOnce, 0, 8) > 0 ? view.getUint16(6, true) : 0;
}
