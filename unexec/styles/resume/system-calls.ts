/**
 * System calls of a restore program by name, x86-64 numbers (asm/unistd_64.h of Linux 6.1).
 *
 * @module
 */
// biome-ignore format: a dense table
export const NR = {
  read: 0, write: 1, open: 2, close: 3, stat: 4, fstat: 5, lseek: 8, mmap: 9, mprotect: 10, munmap: 11, brk: 12,
  rt_sigaction: 13, rt_sigprocmask: 14, ioctl: 16, pread64: 17, madvise: 28, dup2: 33,
  setitimer: 38, getpid: 39, sendfile: 40, socket: 41, sendto: 44, shutdown: 48, bind: 49,
  listen: 50, socketpair: 53, setsockopt: 54, clone: 56, kill: 62, uname: 63, fcntl: 72, flock: 73,
  ftruncate: 77, chdir: 80, unlink: 87, chmod: 90, fchmod: 91, umask: 95, getrlimit: 97,
  rt_sigqueueinfo: 129, mlock: 149, prctl: 157, arch_prctl: 158, setrlimit: 160, gettid: 186,
  futex: 202, set_tid_address: 218, epoll_ctl: 233, inotify_add_watch: 254, inotify_rm_watch: 255,
  set_robust_list: 273, timerfd_create: 283, timerfd_settime: 286, signalfd4: 289, eventfd2: 290,
  epoll_create1: 291, dup3: 292, pipe2: 293, inotify_init1: 294, preadv: 295,
  rt_tgsigqueueinfo: 297, memfd_create: 319, rseq: 334,
} as const;

/** struct stat of x86-64: bytes, and offsets of its fields (asm/stat.h). */
export const STAT = { size: 144, st_mode: 24, st_size: 48, st_mtim: 88 } as const;
