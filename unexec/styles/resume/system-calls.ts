/**
 * What system calls of a restore program take and give that is not the same on every architecture.
 * Facts: asm/stat.h, asm-generic/stat.h, linux/eventpoll.h, linux/fcntl.h of Linux 6.1.
 *
 * @module
 */
export { NR, type SystemCall } from '../../linux/system-calls.ts';

/** Directory descriptor: paths are relative to the working directory (linux/fcntl.h). */
export const AT_FDCWD = -100;

/** struct stat by architecture: bytes, and offsets of its fields. */
export const STAT = {
  x86_64: { size: 144, st_mode: 24, st_size: 48, st_mtim: 88 },
  aarch64: { size: 128, st_mode: 16, st_size: 48, st_mtim: 88 },
} as const;

/** struct epoll_event by architecture: it is packed on x86-64 only. */
export const EPOLL_EVENT = {
  x86_64: { size: 12, events: 0, data: 4 },
  aarch64: { size: 16, events: 0, data: 8 },
} as const;
