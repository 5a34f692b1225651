/**
 * Recognises a thread that waits for input on descriptor 0: a read of it, or a poll, select or epoll
 * wait whose set has it. Other descriptors of the same file count too (libuv opens the terminal anew).
 *
 * @module
 */
import { readlinkSync } from 'node:fs';
import { viewOf } from '../../formats/struct.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc, readProcNumbers, threadState } from './proc.ts';
import type { SystemCall } from './system-calls.ts';

const POLLIN = 1;
const EPOLLIN = 1;

/** Whether this call, were it to block, would wait for input on descriptor 0. */
export function waitsForInput(
  pid: number,
  call: SystemCall | undefined,
  args: readonly bigint[],
  memory: ProcessMemory,
): boolean {
  const first = Number(BigInt.asUintN(32, args[0] ?? 0n));
  switch (call) {
    case 'read':
    case 'readv':
      return isInput(pid, first);
    case 'poll':
    case 'ppoll':
      return pollSet(memory, args).some(fd => isInput(pid, fd));
    case 'select':
    case 'pselect6':
      return readSet(memory, args).some(fd => isInput(pid, fd));
    case 'epoll_wait':
    case 'epoll_pwait':
    case 'epoll_pwait2':
      return epollSet(pid, first).some(fd => isInput(pid, fd));
    default:
      return false;
  }
}

/** Descriptor 0, another one of the same terminal or pipe, or the controlling terminal when 0 is one. */
function isInput(pid: number, fd: number): boolean {
  if (fd === 0) return true;
  const input = linkOf(pid, 0);
  const other = linkOf(pid, fd);
  if (other === undefined || input === undefined) return false;
  const terminal = input.startsWith('/dev/pts/') || input.startsWith('/dev/tty');
  return other === input ? !input.startsWith('/dev/null') : terminal && other === '/dev/tty';
}

function linkOf(pid: number, fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return undefined;
  }
}

/** struct pollfd: fd, events, revents. */
function pollSet(memory: ProcessMemory, [address = 0n, count = 0n]: readonly bigint[]): number[] {
  const entries = Math.min(Number(count), 4096);
  const view = viewOf(memory.bytes(address, entries * 8));
  return Array.from({ length: entries }, (_, i) => i)
    .filter(i => (view.getUint16(i * 8 + 4, true) & POLLIN) !== 0)
    .map(i => view.getInt32(i * 8, true));
}

/** fd_set: one bit a descriptor. */
function readSet(memory: ProcessMemory, [count = 0n, set = 0n]: readonly bigint[]): number[] {
  if (set === 0n) return [];
  const bits = Math.min(Number(BigInt.asIntN(32, count)), 1024);
  const bytes = memory.bytes(set, Math.ceil(Math.max(bits, 0) / 8));
  return Array.from({ length: Math.max(bits, 0) }, (_, fd) => fd).filter(
    fd => (((bytes[fd >> 3] ?? 0) >> (fd & 7)) & 1) !== 0,
  );
}

function epollSet(pid: number, epoll: number): number[] {
  try {
    const info = readProc(`/proc/${pid}/fdinfo/${epoll}`);
    return [...info.matchAll(/^tfd:\s*(\d+) events:\s*([0-9a-f]+)/gm)]
      .filter(([, , events]) => (Number.parseInt(events ?? '0', 16) & EPOLLIN) !== 0)
      .map(([, fd]) => Number(fd));
  } catch {
    return [];
  }
}

/** No thread of the process runs or is about to: each one sleeps. */
export const allThreadsSleep = (pid: number): boolean =>
  readProcNumbers(`/proc/${pid}/task`).every(tid => ['S', 'X'].includes(threadState(pid, tid)));
