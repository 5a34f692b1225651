/**
 * Descriptors that are no files: eventfd, epoll, timerfd, signalfd, inotify; and those of their kind
 * whose state nothing tells (io_uring, perf, bpf, userfaultfd …). Facts: proc(5) (fdinfo),
 * timerfd_create(2), kcmp(2), inotify(7).
 *
 * @module
 */
import { statSync } from 'node:fs';
import { viewOf } from '../../formats/struct.ts';
import type { EpollEntry, FileKind, InotifyWatch } from '../image.ts';
import type { Context } from './descriptors.ts';
import { eventfd } from './eventfd.ts';
import { pathOfHandle } from './file-handles.ts';
import { type HeldFile, infoOf } from './held-file.ts';
import { syscall } from './libc.ts';
import { unreadBytes } from './pipes.ts';
import { dueNow } from './posix-timers.ts';
import { readProc } from './proc.ts';
import { leaveOut, refuse } from './refusal.ts';

const KCMP_EPOLL_TFD = 7;
/** What the kernel calls them, and people. */
const UNKNOWN_STATE: ReadonlyMap<string, string> = new Map([
  ['[io_uring]', 'an io_uring'],
  ['[perf_event]', 'a perf event'],
  ['bpf-map', 'a BPF map'],
  ['bpf-prog', 'a BPF program'],
  ['bpf_link', 'a BPF link'],
  ['[userfaultfd]', 'a userfaultfd'],
  ['[fanotify]', 'a fanotify instance'],
  ['[pidfd]', 'a pidfd'],
  ['[landlock-ruleset]', 'a Landlock rule set'],
  ['bpf-link', 'a BPF link'],
  ['bpf_iter', 'a BPF iterator'],
  ['btf', 'BPF type information'],
  ['seccomp notify', 'the supervisor of a seccomp filter'],
  ['kvm-vm', 'a virtual machine of KVM'],
  ['kvm-vcpu', 'a processor of a virtual machine'],
  ['[fscontext]', 'a file system that is being made'],
  ['[io_uring_zcrx]', 'an io_uring'],
]);

/** What a descriptor with an `anon_inode:` link is. @throws Refusal where it cannot be kept */
export function anonymousFile(file: HeldFile, context: Context): FileKind {
  switch (file.link) {
    case 'anon_inode:[eventfd]':
      return eventfd(file);
    case 'anon_inode:[eventpoll]':
      return { type: 'epoll', entries: epollEntries(file, context) };
    case 'anon_inode:[timerfd]':
      return timerfd(file);
    case 'anon_inode:[signalfd]':
      return { type: 'signalfd', mask: BigInt(`0x${infoOf(file, 'sigmask') ?? '0'}`) };
    case 'anon_inode:inotify':
      return inotify(file, context.options.watchedPaths);
    default: {
      const name = file.link.slice('anon_inode:'.length).replace(/^(kvm-vcpu):\d+$/, '$1');
      const noun = UNKNOWN_STATE.get(name) ?? 'of a kind that unexec does not know';
      return refuse(file, 'FD_UNSUPPORTED', `${noun}, whose state the kernel does not tell`);
    }
  }
}

function epollEntries(file: HeldFile, context: Context): EpollEntry[] {
  const lines = file.info.matchAll(/^tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)/gm);
  const entries = [...lines].map(([, fd, events, data]) => ({
    fd: Number(fd),
    events: Number.parseInt(events ?? '0', 16),
    data: BigInt(`0x${data}`),
  }));
  const seen = new Map<number, number>();
  return entries.filter(({ fd }) => {
    if (context.options.drop.has(fd)) return false;
    const nth = seen.get(fd) ?? 0;
    seen.set(fd, nth + 1);
    if (stillWatches(file, fd, nth, context)) return true;
    // Watched is what the number stood for when it was added; the number has been closed since.
    return refuse(
      file,
      'FD_EPOLL_CLOSED',
      `an epoll instance that watches what was descriptor ${fd}, which was closed while a copy of it stayed open`,
      `remove it with EPOLL_CTL_DEL before it is closed, or ${leaveOut(file)}`,
    );
  });
}

/** kcmp(2) tells whether the `nth` entry of a number is the file that has this number now. */
function stillWatches(file: HeldFile, fd: number, nth: number, { pid, files }: Context): boolean {
  if (!files.some(({ descriptors }) => descriptors.some(item => item.fd === fd))) return false;
  const [own] = file.descriptors;
  const slot = new Uint8Array(12);
  const view = new DataView(slot.buffer);
  for (const [i, value] of [own?.fd ?? -1, fd, nth].entries()) view.setUint32(i * 4, value, true);
  // Negative: a kernel without kcmp; then the open number is taken to be the one that was added.
  return syscall('kcmp', pid, pid, KCMP_EPOLL_TFD, fd, slot) <= 0;
}

/**
 * `it_value` is what remains, for relative and absolute timers alike (fs/timerfd.c, timerfd_show). Of a
 * periodic timer that has expired only timerfd_gettime(2) counts the ticks up to now.
 */
function timerfd(file: HeldFile): FileKind {
  const spec = new Uint8Array(32);
  syscall('timerfd_gettime', file.own, spec);
  dueNow(spec);
  const now = { ...file, info: readProc(`/proc/self/fdinfo/${file.own}`) };
  const clock = Number(infoOf(now, 'clockid') ?? 0);
  const flags = Number.parseInt(infoOf(now, 'settime flags') ?? '0', 8);
  const settime = WALL_CLOCKS.has(clock) && (flags & TFD_TIMER_ABSTIME) !== 0 ? flags : 0;
  if (settime !== 0) toMoment(viewOf(spec));
  return {
    type: 'timerfd',
    clock,
    settime,
    spec,
    ticks: BigInt(infoOf(now, 'ticks') ?? 0),
  };
}

/** CLOCK_REALTIME, CLOCK_REALTIME_ALARM: theirs are the only moments that mean the same in another life. */
const WALL_CLOCKS: ReadonlySet<number> = new Set([0, 8]);
const TFD_TIMER_ABSTIME = 1;

/** Makes what remains (it_value, at 16) the moment at which nothing does, unless the timer is not set. */
function toMoment(spec: DataView): void {
  const left = spec.getBigInt64(16, true) * SECOND + spec.getBigInt64(24, true);
  if (left === 0n) return;
  const moment = BigInt(Date.now()) * 1_000_000n + left;
  spec.setBigInt64(16, moment / SECOND, true);
  spec.setBigInt64(24, moment % SECOND, true);
}

const SECOND = 1_000_000_000n;

/**
 * fdinfo names a watched inode, not its path: it must be one that the program was seen to watch, or we must be
 * root, who can open the inode.
 */
function inotify(file: HeldFile, watchedPaths: readonly string[]): FileKind {
  if (unreadBytes(file) > 0) {
    refuse(file, 'FD_INOTIFY_DATA', 'an inotify instance with events that nobody has read yet');
  }
  const watches: InotifyWatch[] = [];
  for (const [line, wd, ino, mask] of file.info.matchAll(
    /^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:\S+ mask:([0-9a-f]+).*/gm,
  )) {
    const inode = BigInt(`0x${ino}`);
    const path = watchedPaths.find(candidate => inodeOf(candidate) === inode) ?? pathOfHandle(line);
    if (path === undefined) {
      return refuse(
        file,
        'FD_INOTIFY',
        `an inotify instance that watches inode ${inode}, whose path is not known`,
        `choose a freeze point at which system calls are followed (auto, request, input, output:), close it, or ${leaveOut(file)}`,
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
