/**
 * Whether a process can be traced, and if not, which of the many reasons it is: decided by what /proc says, in the
 * order in which the kernel asks. Facts: ptrace(2), "Ptrace access mode checking"; proc(5); capabilities(7);
 * Documentation/admin-guide/LSM/Yama.rst; __ptrace_may_access and cap_ptrace_access_check of Linux 6.1.
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { ERRNO } from './errno.ts';
import { ptrace } from './libc.ts';
import { PROC, type ProcessFacts, type ProcReader, processFacts } from './process-facts.ts';
import { PTRACE } from './ptrace.ts';

const CAP_SYS_PTRACE = 1n << 19n;
/** No process has this number: the largest is 2^22. */
const NOBODYS_PID = 2 ** 30;

/**
 * What would be in vain, or harm the process, whoever asks.
 *
 * @throws UnexecError `NO_SUCH_PROCESS`, `HIDDEN_PROCESS`, `NO_PROCESS_BUT_THREAD`, `OWN_PROCESS`, `KERNEL_THREAD`,
 *   `ZOMBIE`, `MAIN_THREAD_ENDED`, `ALREADY_TRACED`, `PROCESS_32_BIT`, `SECCOMP`, `OTHER_NAMESPACE`, `OTHER_ROOT`
 */
export function requireTraceable(pid: number, proc: ProcReader = PROC): void {
  const target = processFacts(pid, proc);
  if (target === undefined) throw missing(pid);
  const error = notTraceable(target, proc);
  if (error !== undefined) throw error;
}

function missing(pid: number): UnexecError {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) {
      return new UnexecError('NO_SUCH_PROCESS', `there is no process ${pid}`, {
        hint: 'ps -e lists them; a program whose name is a number is given by its path: ./1234',
      });
    }
  }
  return new UnexecError('HIDDEN_PROCESS', `process ${pid} is not in /proc, though it exists`, {
    hint: 'it belongs to another user, and /proc is mounted with hidepid: run unexec as that user',
  });
}

function notTraceable(target: ProcessFacts, proc: ProcReader): UnexecError | undefined {
  const { pid, name } = target;
  const what = `process ${pid} (${name})`;
  const no = (code: string, message: string, hint: string): UnexecError =>
    new UnexecError(code, message, { hint });
  if (pid === process.pid || target.group === process.pid) {
    return no('OWN_PROCESS', `process ${pid} is unexec itself`, 'give the number of another process');
  }
  if (target.isKernelThread) {
    return no(
      'KERNEL_THREAD',
      `${what} is a thread of the kernel: it has no program`,
      'ps shows them in brackets',
    );
  }
  if (target.group !== pid) {
    return no(
      'NO_PROCESS_BUT_THREAD',
      `${pid} is a thread of process ${target.group}`,
      `give ${target.group}`,
    );
  }
  if (target.state === 'Z' || target.state === 'X') {
    return target.threads > 1
      ? no(
          'MAIN_THREAD_ENDED',
          `the first thread of ${what} has ended while others go on`,
          'it cannot be made again: freeze the program before its main thread ends',
        )
      : no(
          'ZOMBIE',
          `${what} has ended: its parent, process ${target.parent}, has not asked for its status yet`,
          'nothing of its memory is left',
        );
  }
  if (target.tracer !== 0) return alreadyTraced(target, proc);
  if (target.is32Bit) {
    return no('PROCESS_32_BIT', `${what} is a 32-bit program`, 'freeze a 64-bit build of it');
  }
  if (target.seccomp !== 0) {
    return no(
      'SECCOMP',
      `${what} runs under a seccomp filter, which could end it for a question that we ask it`,
      'start the program without its sandbox (--no-sandbox and the like; systemd: SystemCallFilter=)',
    );
  }
  return elsewhere(target, processFacts(process.pid, proc));
}

function alreadyTraced({ pid, tracer }: ProcessFacts, proc: ProcReader): UnexecError {
  const by = processFacts(tracer, proc);
  const name = by === undefined ? '' : ` (${by.name})`;
  return new UnexecError('ALREADY_TRACED', `process ${pid} is traced by process ${tracer}${name} already`, {
    hint: 'a process has one tracer at a time: end that one, or let it go (gdb: detach)',
  });
}

const NAMESPACES = {
  user: 'its users are others there',
  pid: 'it knows its threads by other numbers',
  mnt: 'its paths lead elsewhere',
  time: 'its clocks are others',
} as const;

/** In a container, or behind a chroot: what it names by a path or a number means something else to us. */
function elsewhere(target: ProcessFacts, own: ProcessFacts | undefined): UnexecError | undefined {
  const { pid, container } = target;
  const others = (['user', 'pid', 'mnt', 'time'] as const).filter(kind => {
    const theirs = target.namespaces[kind];
    const ours = own?.namespaces[kind];
    return theirs !== undefined && ours !== undefined && theirs !== ours;
  });
  if (others.length > 0) {
    const list = others.map(kind => `${kind} (${NAMESPACES[kind]})`).join(', ');
    const inside =
      container === undefined
        ? `nsenter --target ${pid} --all unexec PID FILE`
        : `docker exec ${container} unexec PID FILE (or podman, kubectl)`;
    const where = container === undefined ? 'other namespaces' : `container ${container}`;
    return new UnexecError('OTHER_NAMESPACE', `process ${pid} is in ${where}: ${list}`, {
      hint: `run unexec in there, with its number there: ${inside}`,
    });
  }
  if (target.root !== undefined && own?.root !== undefined && target.root !== own.root) {
    return new UnexecError('OTHER_ROOT', `the root directory of process ${pid} is ${target.root}`, {
      hint: `run unexec in there: chroot ${target.root} unexec ${pid} FILE`,
    });
  }
  return undefined;
}

/** Why ptrace(2) gave EPERM. */
export function notPermitted(pid: number, proc: ProcReader = PROC): UnexecError {
  const target = processFacts(pid, proc);
  const own = processFacts(process.pid, proc);
  if (target === undefined || own === undefined || target.state === 'Z' || target.state === 'X') {
    return new UnexecError('PROCESS_GONE', `process ${pid} has ended`);
  }
  if (target.tracer !== 0) return alreadyTraced(target, proc);
  return (
    filtered(pid) ??
    yamaForAll(target, proc) ??
    otherUser(target, own, proc) ??
    undumpable(target, own) ??
    moreCapable(target, own) ??
    yamaForOthers(target, own, proc) ??
    labelled(target, proc) ??
    new UnexecError('PTRACE_NOT_PERMITTED', `process ${pid} may not be traced, and /proc does not tell why`, {
      hint: 'a security module may forbid it (dmesg tells), or the container: docker run --cap-add SYS_PTRACE',
    })
  );
}

/** A filter says EPERM before the kernel looks for the process. */
function filtered(pid: number): UnexecError | undefined {
  if (ptrace(PTRACE.SEIZE, NOBODYS_PID, 0, 0) !== -ERRNO.EPERM) return undefined;
  return new UnexecError(
    'PTRACE_FILTERED',
    `unexec may not trace at all: a seccomp filter forbids ptrace(2)`,
    {
      hint: `in a container: docker run --cap-add SYS_PTRACE, or --security-opt seccomp=FILE with a profile that allows it; or freeze process ${pid} from outside`,
    },
  );
}

const mayTraceAll = ({ effective }: ProcessFacts): boolean => (effective & CAP_SYS_PTRACE) !== 0n;

function yamaScope(proc: ProcReader): number {
  // A kernel without Yama has no such file.
  return Number(proc.text('/proc/sys/kernel/yama/ptrace_scope') ?? 0);
}

function yamaForAll({ pid }: ProcessFacts, proc: ProcReader): UnexecError | undefined {
  if (yamaScope(proc) !== 3) return undefined;
  return new UnexecError(
    'YAMA',
    `process ${pid} may not be traced: kernel.yama.ptrace_scope is 3, nobody may`,
    {
      hint: 'it cannot be lowered before the next start of the machine; freeze the program elsewhere',
    },
  );
}

/** All three of the process's ids must be ours. */
function otherUser(target: ProcessFacts, own: ProcessFacts, proc: ProcReader): UnexecError | undefined {
  if (mayTraceAll(own)) return undefined;
  const { pid, uids, gids } = target;
  const [uid = 0] = own.uids;
  const [gid = 0] = own.gids;
  const same = (ids: readonly number[], id: number): boolean => ids.slice(0, 3).every(other => other === id);
  if (same(uids, uid) && same(gids, gid)) return undefined;
  if (uids[0] === uid) {
    return new UnexecError(
      'SETUID_PROCESS',
      `process ${pid} has ids other than ours (users ${uids.slice(0, 3).join(', ')}, groups ${gids.slice(0, 3).join(', ')}; ours are ${uid} and ${gid})`,
      { hint: 'a setuid or setgid program is for root to freeze: its memory may hold what is not yours' },
    );
  }
  const name = userName(uids[0] ?? 0, proc);
  return new UnexecError(
    'OTHER_USER',
    `process ${pid} belongs to user ${name}, and unexec runs as ${userName(uid, proc)}`,
    { hint: `run unexec as that user, or as root: sudo -u ${name} unexec ${pid} FILE` },
  );
}

function userName(uid: number, proc: ProcReader): string {
  const lines = (proc.text('/etc/passwd') ?? '').split('\n').map(line => line.split(':'));
  return lines.find(([, , id]) => id === String(uid))?.[0] ?? String(uid);
}

/** What /proc has of a process that is not dumpable belongs to root. */
function undumpable(target: ProcessFacts, own: ProcessFacts): UnexecError | undefined {
  if (mayTraceAll(own) || target.owner === undefined || target.owner === target.uids[1]) return undefined;
  return new UnexecError(
    'NOT_DUMPABLE',
    `process ${target.pid} (${target.name}) does not want to be read (prctl PR_SET_DUMPABLE), or runs a file that may be executed but not read`,
    { hint: 'such programs hold keys (ssh-agent, gpg-agent): freeze it as root if you must' },
  );
}

function moreCapable({ pid, permitted }: ProcessFacts, own: ProcessFacts): UnexecError | undefined {
  const lacking = permitted & ~own.effective;
  if (mayTraceAll(own) || lacking === 0n) return undefined;
  return new UnexecError(
    'MORE_CAPABILITIES',
    `process ${pid} has capabilities that unexec lacks (0x${lacking.toString(16)})`,
    { hint: 'run unexec as root with CAP_SYS_PTRACE; in a container: docker run --cap-add SYS_PTRACE' },
  );
}

function yamaForOthers({ pid }: ProcessFacts, own: ProcessFacts, proc: ProcReader): UnexecError | undefined {
  const scope = yamaScope(proc);
  if (scope === 0 || mayTraceAll(own)) return undefined;
  if (scope === 1 && isDescendant(pid, proc)) return undefined;
  const meaning = scope === 1 ? 'only its ancestors may trace a process' : 'only root may trace';
  const other = scope === 1 ? ', or let the program call prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)' : '';
  return new UnexecError(
    'YAMA',
    `process ${pid} may not be traced: kernel.yama.ptrace_scope is ${scope}, ${meaning}`,
    {
      hint: `sudo sysctl kernel.yama.ptrace_scope=0, or run unexec as root${other}; a program that unexec starts may always be traced`,
    },
  );
}

function isDescendant(pid: number, proc: ProcReader): boolean {
  let ancestor = processFacts(pid, proc)?.parent ?? 0;
  while (ancestor > 1 && ancestor !== process.pid) ancestor = processFacts(ancestor, proc)?.parent ?? 0;
  return ancestor === process.pid;
}

/** AppArmor and SELinux confine by labels. */
function labelled({ pid }: ProcessFacts, proc: ProcReader): UnexecError | undefined {
  const labelOf = (id: number | 'self'): string =>
    (proc.text(`/proc/${id}/attr/current`) ?? '').replace(/[\0\n]+$/, '');
  const [theirs, ours] = [labelOf(pid), labelOf('self')];
  const confined = [theirs, ours].find(label => label !== '' && !label.startsWith('unconfined'));
  if (confined === undefined) return undefined;
  return new UnexecError(
    'SECURITY_MODULE',
    `process ${pid} may not be traced: the policy for «${theirs}» and «${ours}» (ours) forbids it`,
    { hint: 'dmesg or the audit log has the rule; AppArmor: a line «ptrace (trace)» in the profile' },
  );
}
