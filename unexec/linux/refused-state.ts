/**
 * What a process as a whole, or one of its threads, may have that no new process can be given: each refused by
 * name, with its remedy. Facts: proc(5) (status, task, root), kcmp(2), seccomp(2), modify_ldt(2);
 * Documentation/admin-guide/syscall-user-dispatch.rst.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { Reason } from '../errors.ts';
import { ptraceWith, syscall } from './libc.ts';
import { readChildren, readProc, readProcLink, readStatus } from './proc.ts';
import { PTRACE } from './ptrace.ts';
import type { RemoteThread } from './remote.ts';
import { ARCH } from './this-machine.ts';

const KCMP_FILES = 2;
const KCMP_FS = 3;
/** struct ptrace_sud_config: mode, selector, offset, len. */
const DISPATCH_SIZE = 32;

/** All that is in the way, threads in the order of `tids`, the first thread first. */
export function refuseState(pid: number, tids: readonly number[], cwd: string): Reason[] {
  return [
    ...refuseChildren(pid),
    ...tids.flatMap(tid => refuseThread(pid, tid)),
    ...refuseRoot(pid),
    ...(cwd.endsWith(' (deleted)') ? [refuseCwd(cwd)] : []),
  ];
}

function refuseChildren(pid: number): Reason[] {
  const children = readChildren(pid);
  if (children.length === 0) return [];
  const names = children.map(child => `${child} (${commandOf(child)})`).join(', ');
  return [
    {
      code: 'CHILDREN',
      what: `the process has children: ${names}`,
      remedy: 'choose a freeze point at which they have ended and been waited for',
    },
  ];
}

function commandOf(pid: number): string {
  try {
    return readProc(`/proc/${pid}/comm`).trimEnd();
  } catch {
    return 'ended';
  }
}

function refuseThread(pid: number, tid: number): Reason[] {
  const whose = tid === pid ? 'the process' : `thread ${tid}`;
  const reasons: Reason[] = [];
  if ((readStatus(pid, tid).get('Seccomp') ?? '0') !== '0') {
    reasons.push({
      code: 'SECCOMP',
      what: `${whose} runs under a seccomp filter, which only root could read`,
      remedy: 'start the program without its sandbox',
    });
  }
  if (dispatchesCalls(tid)) {
    reasons.push({
      code: 'SYSCALL_USER_DISPATCH',
      what: `${whose} has its system calls sent to itself as signals (PR_SET_SYSCALL_USER_DISPATCH)`,
      remedy: 'choose a freeze point before that is switched on, or after it is switched off',
    });
  }
  if (tid !== pid && (!shares(pid, tid, KCMP_FILES) || !shares(pid, tid, KCMP_FS))) {
    reasons.push({
      code: 'THREAD_UNSHARED',
      what: `${whose} has descriptors or a working directory of its own (unshare)`,
      remedy: 'choose a freeze point at which it has not begun yet, or has ended',
    });
  }
  return reasons;
}

/** Linux 6.4 tells. */
function dispatchesCalls(tid: number): boolean {
  const config = new Uint8Array(DISPATCH_SIZE);
  const told = ptraceWith(PTRACE.GET_SYSCALL_USER_DISPATCH_CONFIG, tid, config.length, config);
  return told >= 0 && viewOf(config).getBigUint64(0, true) !== 0n;
}

/** A kernel without kcmp(2) does not tell; then it is as with nearly all threads. */
const shares = (pid: number, tid: number, what: number): boolean =>
  syscall('kcmp', pid, tid, what, 0, 0) <= 0;

function refuseRoot(pid: number): Reason[] {
  const root = readProcLink(`/proc/${pid}/root`);
  if (root === readProcLink('/proc/self/root')) return [];
  return [
    {
      code: 'ROOT_DIRECTORY',
      what: `its root directory is ${root} (chroot), and files have other paths there`,
      remedy: 'start the program without chroot, or run unexec within it',
    },
  ];
}

const refuseCwd = (cwd: string): Reason => ({
  code: 'CWD_DELETED',
  what: `its working directory ${cwd} is gone`,
  remedy: 'resume in the directory of the caller: --cwd caller',
});

/** Segments of modify_ldt(2). `scratch`: writable memory of the process, 16 bytes. */
export function refuseSegments(main: RemoteThread, scratch: bigint): Reason[] {
  if (ARCH !== 'x86_64' || main.call('modify_ldt', 0, scratch, 16) <= 0n) return [];
  return [
    {
      code: 'SEGMENTS',
      what: 'the process has memory segments of its own (modify_ldt)',
      remedy: 'choose a freeze point before they are made',
    },
  ];
}
