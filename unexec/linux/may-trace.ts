/**
 * Which of the reasons of ptrace(2) it is that a process may not be traced, as far as /proc tells. Facts:
 * ptrace(2), "Ptrace access mode checking".
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { readProc, readStatus } from './proc.ts';

/** Why ptrace(2) gave EPERM. */
export function notPermitted(pid: number): UnexecError {
  const tracer = readStatus(pid).get('TracerPid') ?? '0';
  if (tracer !== '0') {
    return new UnexecError('ALREADY_TRACED', `process ${pid} is traced by process ${tracer} already`, {
      hint: 'end the debugger or strace that holds it',
    });
  }
  const scope = yamaScope();
  return new UnexecError('PTRACE_NOT_PERMITTED', `process ${pid} may not be traced`, {
    hint:
      scope >= 2
        ? `kernel.yama.ptrace_scope is ${scope}; it must be 0 or 1: sysctl kernel.yama.ptrace_scope=1`
        : 'a container may forbid it: docker run --cap-add SYS_PTRACE, or a seccomp profile that allows ptrace',
  });
}

function yamaScope(): number {
  try {
    return Number(readProc('/proc/sys/kernel/yama/ptrace_scope'));
  } catch {
    return 0; // a kernel without Yama
  }
}

export function requireTraceable(pid: number): void {
  readStatus(pid);
}
