/**
 * Descriptors that are no files: eventfd, epoll, timerfd, signalfd, inotify; and those of their kind
 * whose state nothing tells (io_uring, perf, bpf, userfaultfd …). Facts: proc(5) (fdinfo).
 *
 * @module
 */
import { statSync } from 'node:fs';
import type { Reason } from '../errors.ts';
import type { EpollEntry, FileKind, InotifyWatch } from '../image.ts';
import { fdOf, type HeldFile, infoOf } from './held-file.ts';

/** What a descriptor with an `anon_inode:` link is, or why it cannot be kept. */
export function anonymousFile(file: HeldFile, watchedPaths: readonly string[]): FileKind | Reason {
  switch (file.link) {
    case 'anon_inode:[eventfd]':
      return {
        type: 'eventfd',
        count: BigInt(`0x${infoOf(file, 'eventfd-count')?.trim() ?? '0'}`),
        semaphore: infoOf(file, 'eventfd-semaphore') === '1',
      };
    case 'anon_inode:[eventpoll]':
      return { type: 'epoll', entries: epollEntries(file) };
    case 'anon_inode:[timerfd]':
      return timerfd(file);
    case 'anon_inode:[signalfd]':
      return { type: 'signalfd', mask: BigInt(`0x${infoOf(file, 'sigmask') ?? '0'}`) };
    case 'anon_inode:inotify':
      return inotify(file, watchedPaths);
    default:
      return refusal(
        file,
        'FD_UNSUPPORTED',
        `${file.link.slice('anon_inode:'.length)}, whose state the kernel does not tell`,
      );
  }
}

function refusal(file: HeldFile, code: string, noun: string): Reason {
  const fd = fdOf(file);
  return {
    code,
    what: `descriptor ${fd} is ${noun}`,
    remedy: `close it before the freeze point, or leave it out with --drop-fd ${fd}`,
  };
}

function epollEntries(file: HeldFile): EpollEntry[] {
  const lines = file.info.matchAll(/^tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)/gm);
  return [...lines].map(([, fd, events, data]) => ({
    fd: Number(fd),
    events: Number.parseInt(events ?? '0', 16),
    data: BigInt(`0x${data}`),
  }));
}

/** `it_value` is what remains, for relative and absolute timers alike (fs/timerfd.c, timerfd_show). */
function timerfd(file: HeldFile): FileKind {
  const time = (key: string): [bigint, bigint] => {
    const match = /\((\d+), (\d+)\)/.exec(infoOf(file, key) ?? '');
    return [BigInt(match?.[1] ?? 0), BigInt(match?.[2] ?? 0)];
  };
  const spec = new Uint8Array(32);
  const view = new DataView(spec.buffer);
  for (const [i, value] of [...time('it_interval'), ...time('it_value')].entries()) {
    view.setBigInt64(i * 8, value, true);
  }
  return {
    type: 'timerfd',
    clock: Number(infoOf(file, 'clockid') ?? 0),
    spec,
    ticks: BigInt(infoOf(file, 'ticks') ?? 0),
  };
}

/** fdinfo names a watched inode, not its path: it must be one that the program was seen to watch. */
function inotify(file: HeldFile, watchedPaths: readonly string[]): FileKind | Reason {
  const watches: InotifyWatch[] = [];
  for (const [, wd, ino, mask] of file.info.matchAll(
    /^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:\S+ mask:([0-9a-f]+)/gm,
  )) {
    const inode = BigInt(`0x${ino}`);
    const path = watchedPaths.find(candidate => inodeOf(candidate) === inode);
    if (path === undefined) {
      return refusal(
        file,
        'FD_INOTIFY',
        `an inotify instance that watches inode ${inode}, whose path is not known`,
      );
    }
    watches.push({
      wd: Number.parseInt(wd ?? '0', 16),
      path,
      mask: Number.parseInt(mask ?? '0', 16),
    });
  }
  return { type: 'inotify', watches: watches.sort((a, b) => a.wd - b.wd) };
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}
