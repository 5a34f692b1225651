/**
 * `ProcessImage`: everything read from a process, as plain data. Where it came from (a program that we
 * started, a pid, a core) and what is made of it (a style) both know only this model. Contents are
 * not in it: they stream through `memory`, so gigabytes never pass through the heap at once.
 *
 * Addresses are `bigint`; sizes, lengths and file offsets are `number` (bytes, checked below 2^53).
 *
 * @module
 */
import type { CpuLevel } from './cpu-features.ts';
import type { Reason } from './errors.ts';
import type { FileTime } from './file-time.ts';
import type { Arch, MachineState, RegisterName } from './machine-state.ts';
import type { MallocZone } from './zones.ts';

export * from './machine-state.ts';

/** Page size of the architectures that we write for; both run with 4 KiB here. */
export const PAGE = 4096;
export const PAGE_BIG = 4096n;

/**
 * What every source can give, whatever the system and the format: memory, and where there is some. A Mach-O
 * core is no more than that; a process of Linux is a `ProcessImage`.
 */
export interface MemoryImage {
  readonly arch: Arch;
  /** Sorted by address, without overlaps. */
  readonly regions: readonly MemoryRegion[];
  /** Contents; only valid until the source is released. */
  readonly memory: MemoryReader;
  /**
   * What the source lacks because nobody has written to it, so that it comes from the executable. Words that the
   * loader binds to libraries read as zero there.
   */
  readonly clean?: readonly { readonly start: bigint; readonly size: number }[];
}

export interface ProcessImage extends MemoryImage {
  /** How the process came about and where it ran; goes into the manifest. */
  readonly origin: Origin;
  /** Sorted by address, without overlaps. */
  readonly regions: readonly Region[];
  /** Files mapped with their program headers, the program itself first. */
  readonly modules: readonly Module[];
  /** The first one is the main thread. */
  readonly threads: readonly Thread[];
  readonly files: readonly OpenFile[];
  /** siginfo_t (128 bytes) of each signal that waits for the process. */
  readonly pendingSignals: readonly Uint8Array[];
  readonly signals: readonly SignalAction[];
  readonly timers: readonly IntervalTimer[];
  /** By ascending id. */
  readonly posixTimers: readonly PosixTimer[];
  readonly layout: AddressLayout;
  /** The auxiliary vector, as the kernel keeps it. */
  readonly auxv: Uint8Array;
  readonly vdso: Vdso | undefined;
  readonly zones: readonly MallocZone[];
  /** The program asked with prctl('UNEX', &args): address of its `struct unexec_args`. */
  readonly request: bigint | undefined;
  /** Frozen at the entry of `main`: argc, argv and envp are to be passed in registers. */
  readonly atMain: boolean;
  /** Words of the C library that hold pointers to arguments and environment. */
  readonly environment: readonly EnvironmentWord[];
  /** Resource limits that the program has set for itself. */
  readonly limits: readonly ResourceLimit[];
  /** What system calls have set for the process, where it is not what a new process has; in this order. */
  readonly attributes: readonly ProcessAttribute[];
  /** What it has written to files of /proc/self. */
  readonly settings: readonly ProcessSetting[];
  /** Pages within regions whose access faults (MADV_GUARD_INSTALL). */
  readonly guards: readonly AddressRange[];
  /** What is mapped from now on is locked into memory (MCL_FUTURE). */
  readonly locksNewMemory: boolean;
  /** umask, 12 bits; undefined where the source does not tell: the caller's. */
  readonly umask: number | undefined;
  /** Working directory, an absolute path; undefined where the source does not tell: the caller's. */
  readonly cwd: string | undefined;
  /** What the source does not tell, and what is taken instead. */
  readonly assumptions: readonly Assumption[];
  /** What cannot be kept, each with its remedy. A style refuses to write an image that has any. */
  readonly refusals: readonly Reason[];
}

/** Something that a source does not tell of a process, and what is taken to be so. */
export interface Assumption {
  readonly what: string;
  readonly assumed: string;
}

export interface EnvironmentWord {
  readonly address: bigint;
  readonly holds: 'argv' | 'envp' | 'argv[0]';
}

export interface Origin {
  /** Absolute path of the program. */
  readonly program: string;
  /** Its argument vector in the first life. */
  readonly argv: readonly string[];
  readonly pid: number;
  /** Of its process, where the source tells. */
  readonly ids?: ProcessIds;
  /** The freeze point as given: `input`, `symbol:main`, … */
  readonly freezePoint: string;
  /** ISO 8601, UTC. */
  readonly frozenAt: string;
  readonly kernel: KernelIdentity;
  readonly cpu: CpuFeatures;
}

export interface ProcessIds {
  readonly ppid: number;
  readonly pgrp: number;
  readonly sid: number;
  /** The real ones. */
  readonly uid: number;
  readonly gid: number;
}

/** uname(2). Two machines with the same three strings run the same kernel build, with the same vdso. */
export interface KernelIdentity {
  readonly sysname: string;
  readonly release: string;
  readonly version: string;
  readonly machine: string;
}

export interface CpuFeatures {
  /** The flags line of /proc/cpuinfo. */
  readonly flags: readonly string[];
  /** XCR0: the state components that the kernel has switched on (x86-64). */
  readonly xcr0: bigint;
  /** The program was started so that its code is chosen for less than that; flags and xcr0 are cut to it. */
  readonly restriction?: CpuRestriction;
}

export interface CpuRestriction {
  readonly level: CpuLevel;
  /**
   * By GLIBC_TUNABLES: glibc chose its functions so; what executes CPUID by itself saw the real CPU. Or by trapping:
   * every CPUID was answered for the level.
   */
  readonly by: 'tunables' | 'trapping';
}

export type RegionKind =
  | 'module-text'
  | 'module-data'
  | 'heap'
  | 'arena'
  | 'stack'
  | 'thread-stack'
  | 'file'
  | 'shared'
  | 'anonymous'
  | 'vdso'
  | 'vvar'
  | 'vsyscall';

export interface AddressRange {
  readonly start: bigint;
  /** Bytes, a multiple of PAGE. */
  readonly size: number;
}

/** A stretch of address space with one protection. */
export interface MemoryRegion {
  readonly start: bigint;
  /** Bytes, a multiple of PAGE. */
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  /** MAP_SHARED. */
  readonly shared: boolean;
  /** Of the mapped file; 0 where there is none, or where the source does not tell. */
  readonly inode: number;
  /** Path, `[heap]`, `[stack]`, a segment's name, …, or the empty string. */
  readonly name: string;
}

/** One mapping of the process (a VMA). */
export interface Region extends MemoryRegion {
  /** Offset in the mapped file, bytes. */
  readonly offset: number;
  /** `major:minor` in hexadecimal, as /proc/pid/maps has it. */
  readonly device: string;
  readonly kind: RegionKind;
  /** VmFlags of /proc/pid/smaps: two-letter codes (`gd`, `nr`, `dd`, …). */
  readonly flags: ReadonlySet<string>;
  /** Bytes of the file, where a shared mapping writes to one that exists. */
  readonly fileSize?: number;
  /** A shared mapping of a file that is named after the process, and belongs to its life. */
  readonly ownFile?: boolean;
  /** Of a locked region (`lo`): its pages are locked as they are touched. */
  readonly lockedOnFault?: boolean;
  /** pkey_mprotect(2), where the CPU has protection keys. */
  readonly protectionKey?: number;
}

/** Exclusive end address of a region. */
export const endOf = (region: { readonly start: bigint; readonly size: number }): bigint =>
  region.start + BigInt(region.size);

/** Streams contents of the process. */
export interface MemoryReader {
  /**
   * Fills `into` from `address`. Pages that cannot be read (beyond the end of a mapped file) read as
   * zero, which is what the page of a hole holds.
   *
   * @throws UnexecError `PROCESS_GONE` when the process has ended.
   */
  read(address: bigint, into: Uint8Array): void;
  /**
   * Page ranges within [start, start + size) that may hold something other than zero: touched
   * anonymous pages, and every page of a file mapping. Sorted; offsets in pages from `start`.
   */
  touched(region: MemoryRegion): Iterable<PageRange>;
  /**
   * Page ranges of a private mapping of a file that are no longer the file's, as they have been written to. Sorted;
   * offsets in pages from `start`. Absent where the source cannot tell.
   */
  changed?(region: MemoryRegion): Iterable<PageRange>;
}

/** `[first, first + count)`, in pages. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

/** A mapped ELF file. */
export interface Module {
  /** Path as /proc/pid/maps shows it. */
  readonly path: string;
  /** What is added to the file's addresses (p_vaddr, st_value) to get those of the process. */
  readonly bias: bigint;
  /** First and exclusive last mapped address. */
  readonly start: bigint;
  readonly end: bigint;
  /** Hexadecimal, empty when the file has none. */
  readonly buildId: string;
}

export interface Thread {
  readonly tid: number;
  /** comm, at most 15 bytes. */
  readonly name: string;
  /** Registers, those of floating point and vectors too. */
  readonly machine: MachineState;
  /** As they were when the thread was stopped, in the middle of a system call perhaps: for who looks at them. */
  readonly stood?: MachineState;
  readonly signalMask: bigint;
  readonly altStack: AltStack;
  /** set_tid_address(2): where the kernel stores 0 at the thread's end; 0n if nowhere. */
  readonly clearTid: bigint;
  /** set_robust_list(2); 0n if none. */
  readonly robustList: bigint;
  readonly rseq: Rseq | undefined;
  readonly scheduling: Scheduling;
  /** Addresses of 32-bit words that hold the tid, and must hold the new one. */
  readonly tidWords: readonly bigint[];
  /** Registers of `machine` that hold it, likewise. */
  readonly tidRegisters: readonly RegisterName[];
  /** siginfo_t (128 bytes) of each signal that waits for this thread. */
  readonly pendingSignals: readonly Uint8Array[];
}

export interface AltStack {
  readonly sp: bigint;
  readonly flags: number;
  readonly size: number;
}

/** How a thread is scheduled, where that is its own choice. */
export interface Scheduling {
  /** `struct sched_attr`: policy, nice value, priority. */
  readonly attributes: Uint8Array | undefined;
  /** CPUs that it runs on, a bit each. */
  readonly affinity: Uint8Array | undefined;
  /** As ioprio_set(2) takes it. */
  readonly ioPriority: number | undefined;
  /** Nanoseconds. */
  readonly timerSlack: bigint | undefined;
}

/** A thread's registered restartable-sequence area. */
export interface Rseq {
  readonly address: bigint;
  readonly length: number;
  readonly signature: number;
}

/** `struct kernel_sigaction` as rt_sigaction(2) returned it; only signals that are caught or ignored. */
export interface SignalAction {
  readonly signal: number;
  /** handler, flags, restorer, mask: 32 bytes. */
  readonly action: Uint8Array;
}

/** setitimer(2): `which` and the 32 bytes of `struct itimerval`. */
export interface IntervalTimer {
  readonly which: number;
  readonly value: Uint8Array;
}

/** A timer of timer_create(2). */
export interface PosixTimer {
  readonly id: number;
  /**
   * What timer_create(2) takes. With `thread`: the CPU clock of the thread that had this tid; then `id` is the
   * low bits of such a clock.
   */
  readonly clock: { readonly id: number; readonly thread?: number };
  /** SIGEV_SIGNAL, SIGEV_NONE, or SIGEV_THREAD without a library. */
  readonly notify: 'signal' | 'none' | 'thread';
  readonly signal: number;
  /** sigev_value. */
  readonly value: bigint;
  /** SIGEV_THREAD_ID: the tid of the thread that gets the signal. */
  readonly thread: number | undefined;
  /** `struct itimerspec` (32 bytes): interval, and what remains. */
  readonly spec: Uint8Array;
}

/** setrlimit(2). RLIM_INFINITY is 2^64 - 1. */
export interface ResourceLimit {
  readonly name: string;
  readonly resource: number;
  readonly soft: bigint;
  /** Only where the program has set this too. */
  readonly hard: bigint | undefined;
}

/** A system call that sets an attribute of the process. */
export interface ProcessAttribute {
  readonly name: string;
  readonly call: 'prctl' | 'personality' | 'membarrier' | 'arch_prctl';
  readonly args: readonly number[];
}

/** What is written to /proc/self/NAME. */
export interface ProcessSetting {
  readonly name: string;
  readonly value: string;
}

/** What prctl(PR_SET_MM_MAP) sets, addresses of the first life. */
export interface AddressLayout {
  readonly startCode: bigint;
  readonly endCode: bigint;
  readonly startData: bigint;
  readonly endData: bigint;
  readonly startBrk: bigint;
  /** The program break itself, not rounded. */
  readonly brk: bigint;
  readonly startStack: bigint;
}

export interface Vdso {
  readonly start: bigint;
  /** Bytes of the code part. */
  readonly size: number;
  /** Address of the first of the vvar mappings, which the kernel places right before the code. */
  readonly vvarStart: bigint;
  /** The code part. */
  readonly bytes: Uint8Array;
}

/** An open file description, with the descriptors that refer to it. */
export interface OpenFile {
  /** All descriptors of this description; the lowest is the one that is opened, the others are dup'ed. */
  readonly descriptors: readonly Descriptor[];
  /** F_GETFL: access mode and status flags. */
  readonly flags: number;
  /** Position: bytes, or whatever a directory counts by (ext4: a hash of 63 bits). */
  readonly position: bigint;
  readonly what: FileKind;
  readonly locks: readonly FileLock[];
  /** Signals for this file (O_ASYNC, SIGURG) go to the process itself (F_SETOWN), by this number (F_SETSIG). */
  readonly signalOwner: { readonly signal: number } | undefined;
}

/** A lock held on an open file: flock(2), or fcntl(2) by the process or (`ofd`) by the open file description. */
export interface FileLock {
  readonly type: 'flock' | 'posix' | 'ofd';
  readonly exclusive: boolean;
  /** Byte range of a posix or ofd lock; length 0 means to the end of the file. */
  readonly start: number;
  readonly length: number;
}

export interface Descriptor {
  readonly fd: number;
  readonly closeOnExec: boolean;
}

/** What an open file is, with all that is needed to have it again. */
export type FileKind =
  /** Shares file or terminal with descriptor 0, 1 or 2: gets the new process's. */
  | {
      readonly type: 'stdio';
      readonly like: 0 | 1 | 2;
      /** The same open file description, rather than another one of the same terminal or file. */
      readonly sameDescription: boolean;
      /** `struct termios` of the kernel (36 bytes) where it is a terminal. */
      readonly termios: Uint8Array | undefined;
    }
  /** /dev/tty: the controlling terminal of the new process, or its stdio where it has none. */
  | { readonly type: 'controlling-terminal'; readonly like: 0 | 1 | 2 }
  | {
      readonly type: 'regular';
      readonly path: string;
      readonly size: number;
      readonly mtime: FileTime;
      readonly writable: boolean;
    }
  /** Directories, devices, FIFOs: opened again by path. */
  | { readonly type: 'path'; readonly path: string; readonly noun: string }
  /** memfd or a deleted file: `contents` reads it while the process is held. */
  | {
      readonly type: 'memory';
      readonly name: string;
      readonly size: number;
      readonly seals: number;
      /** Permissions, 12 bits. */
      readonly mode: number;
      /** Which object it is, as mappings of it have them too. */
      readonly device: string;
      readonly inode: number;
      readonly contents: HeldContents;
    }
  | {
      readonly type: 'pipe';
      readonly id: number;
      readonly end: 'read' | 'write';
      readonly capacity: number;
      readonly unread: Uint8Array;
    }
  | {
      readonly type: 'socketpair';
      readonly id: number;
      readonly end: 0 | 1;
      readonly socketType: number;
      /** Messages that wait to be read at this end; one element for a stream. */
      readonly unread: readonly Uint8Array[];
      /** RCV_SHUTDOWN (1) and SEND_SHUTDOWN (2) of this end. */
      readonly shutdown: number;
      readonly options: readonly SocketOption[];
    }
  | { readonly type: 'eventfd'; readonly count: bigint; readonly semaphore: boolean }
  | {
      readonly type: 'timerfd';
      readonly clock: number;
      /** Flags of timerfd_settime(2): the time is a moment of the wall clock, not what remains until then. */
      readonly settime: number;
      readonly spec: Uint8Array;
      readonly ticks: bigint;
    }
  | { readonly type: 'signalfd'; readonly mask: bigint }
  | { readonly type: 'inotify'; readonly watches: readonly InotifyWatch[] }
  | { readonly type: 'epoll'; readonly entries: readonly EpollEntry[] }
  | {
      readonly type: 'pty-master';
      readonly id: number;
      readonly termios: Uint8Array;
      readonly windowSize: Uint8Array;
      readonly locked: boolean;
    }
  | { readonly type: 'pty-slave'; readonly id: number }
  | {
      readonly type: 'socket';
      readonly domain: number;
      readonly socketType: number;
      readonly protocol: number;
      /** `struct sockaddr`, empty when unbound. */
      readonly address: Uint8Array;
      /** st_mode of the file that a unix socket's path is; undefined where it has none. */
      readonly mode: number | undefined;
      /** -1: not listening. */
      readonly backlog: number;
      readonly options: readonly SocketOption[];
      /** Multicast groups, each as the option that joins it. */
      readonly memberships: readonly Membership[];
    }
  /** Replaced by the end of a socket pair whose other end is closed (`--hangup-sockets`). */
  | { readonly type: 'hangup' };

/** Contents of a file without a name, to be read until `close`. */
export interface HeldContents {
  /** Where there may be something other than zero, in order. */
  stretches(): readonly FileStretch[];
  /** pread(2): bytes read, 0 at the end. */
  read(offset: number, into: Uint8Array): number;
  close(): void;
}

/** Bytes of a file. */
export interface FileStretch {
  readonly offset: number;
  readonly size: number;
}

export interface InotifyWatch {
  readonly wd: number;
  readonly path: string;
  readonly mask: number;
}

export interface EpollEntry {
  readonly fd: number;
  readonly events: number;
  readonly data: bigint;
}

export interface SocketOption {
  readonly level: number;
  readonly name: number;
  readonly value: Uint8Array;
}

/** The first word of the value is the number of the interface, which has another number on another day. */
export interface Membership extends SocketOption {
  readonly interfaceName: string;
  /** For messages. */
  readonly group: string;
}
