/**
 * A process that we trace: which threads it has, which of them stand, and the next thing that happens.
 * ptrace(2) reports through waitpid(2); it is polled a thread at a time, because a wait for «any
 * child» would take away the exits of children that other code in this Node process waits for.
 *
 * @module
 */
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { UnexecError } from '../errors.ts';
import { ERRNO, errnoName } from './errno.ts';
import { ptrace, waitpid } from './libc.ts';
import { readProc, readStatus, threadState } from './proc.ts';
import {
  getEventMessage,
  getRegisters,
  getSyscallInfo,
  must,
  PTRACE,
  PTRACE_EVENT,
  PTRACE_O,
  setRegisters,
} from './ptrace.ts';

/** Signal numbers that matter here (asm/signal.h, the same on x86-64 and AArch64). */
export const SIGNAL = { SIGTRAP: 5, SIGKILL: 9, SIGSTOP: 19, SIGWINCH: 28 } as const;

/** How long a wait for stops lasts before it is looked at what may have come to pass without one. */
const STOP_CHECK_MILLISECONDS = 50;
const WNOHANG = 1;
const WALL = 0x40000000;
const NO_SYSTEM_CALL = 0xffff_ffff_ffff_ffffn;
/** Length of the `syscall` instruction. */
const SYSCALL_LENGTH = 2n;

export type Stop = { readonly tid: number } & (
  | { readonly type: 'exec' }
  | { readonly type: 'syscall-entry'; readonly nr: number; readonly args: readonly bigint[] }
  | { readonly type: 'syscall-exit'; readonly result: bigint }
  | { readonly type: 'signal'; readonly signal: number }
  | { readonly type: 'new-thread'; readonly child: number }
  | { readonly type: 'new-process'; readonly child: number }
  | { readonly type: 'vfork-done' }
  | { readonly type: 'interrupted' }
  | { readonly type: 'group-stop'; readonly signal: number }
  | { readonly type: 'exiting' }
  | { readonly type: 'ended'; readonly how: string }
);

interface TracedThread {
  readonly tid: number;
  /** The stop that it stands in; undefined while it runs. */
  stop: Stop | undefined;
}

/** How a stopped thread goes on. */
export type Continue = 'run' | 'to-syscall';

export interface SeizeOptions {
  /** The tracee dies with this process, even when that is killed. */
  readonly exitKill: boolean;
  readonly signal?: AbortSignal | undefined;
}

export class Tracee {
  readonly pid: number;
  readonly threads = new Map<number, TracedThread>();
  readonly #abort: AbortSignal | undefined;
  #lastYield = performance.now();

  private constructor(pid: number, abort: AbortSignal | undefined) {
    this.pid = pid;
    this.#abort = abort;
  }

  /** Starts to trace a process with one thread, which goes on running. */
  static seize(pid: number, options: SeizeOptions): Tracee {
    const flags =
      PTRACE_O.TRACESYSGOOD |
      PTRACE_O.TRACEEXEC |
      PTRACE_O.TRACECLONE |
      PTRACE_O.TRACEFORK |
      PTRACE_O.TRACEVFORK |
      PTRACE_O.TRACEVFORKDONE |
      PTRACE_O.TRACEEXIT |
      (options.exitKill ? PTRACE_O.EXITKILL : 0);
    const seized = ptrace(PTRACE.SEIZE, pid, 0, flags);
    if (seized === -ERRNO.EPERM) throw notPermitted(pid);
    must('traced', pid, seized);
    const tracee = new Tracee(pid, options.signal);
    tracee.threads.set(pid, { tid: pid, stop: undefined });
    return tracee;
  }

  /** Every thread stands. */
  get stopped(): boolean {
    return [...this.threads.values()].every(thread => thread.stop !== undefined);
  }

  stopOf(tid: number): Stop | undefined {
    return this.threads.get(tid)?.stop;
  }

  /**
   * The next stop of any thread, or undefined after `timeout` milliseconds without one.
   *
   * Spins for about 0.1 ms before it sleeps: a traced program stops again within microseconds while it
   * starts up, and a timer would cost a millisecond for each.
   */
  async next(timeout = Number.POSITIVE_INFINITY): Promise<Stop | undefined> {
    const deadline = performance.now() + timeout;
    for (let round = 0; ; round++) {
      for (const thread of this.threads.values()) {
        const stop = thread.stop === undefined ? this.#poll(thread) : undefined;
        if (stop !== undefined) {
          if (performance.now() - this.#lastYield > 20) await this.#yield(0);
          return stop;
        }
      }
      if (performance.now() >= deadline) return undefined;
      if (round >= 200) await this.#yield(round < 400 ? 0 : 1);
    }
  }

  async #yield(milliseconds: number): Promise<void> {
    await (milliseconds === 0 ? immediate() : sleep(milliseconds));
    this.#lastYield = performance.now();
    this.#abort?.throwIfAborted();
  }

  #poll(thread: TracedThread): Stop | undefined {
    const waited = waitpid(thread.tid, WNOHANG | WALL);
    if (waited === undefined) return undefined;
    if ('errno' in waited) {
      // ECHILD: a thread that vanished with an execve of another one, or was reaped.
      this.threads.delete(thread.tid);
      if (waited.errno !== ERRNO.ECHILD) {
        throw new UnexecError('WAIT_FAILED', `waitpid(${thread.tid}): ${errnoName(waited.errno)}`);
      }
      return { type: 'ended', tid: thread.tid, how: 'vanished' };
    }
    const stop = this.#decode(thread.tid, waited.status);
    if (stop.type === 'ended') this.threads.delete(thread.tid);
    else thread.stop = stop;
    return stop;
  }

  #decode(tid: number, status: number): Stop {
    if ((status & 0x7f) === 0) return { type: 'ended', tid, how: `exit status ${(status >> 8) & 0xff}` };
    if ((status & 0xff) !== 0x7f) return { type: 'ended', tid, how: `signal ${status & 0x7f}` };
    const signal = (status >> 8) & 0xff;
    switch (status >> 16) {
      case PTRACE_EVENT.EXEC:
        for (const other of [...this.threads.keys()]) if (other !== this.pid) this.threads.delete(other);
        return { type: 'exec', tid };
      case PTRACE_EVENT.CLONE: {
        const child = getEventMessage(tid);
        this.#add(child);
        return { type: 'new-thread', tid, child };
      }
      case PTRACE_EVENT.FORK:
      case PTRACE_EVENT.VFORK:
        return { type: 'new-process', tid, child: getEventMessage(tid) };
      case PTRACE_EVENT.VFORK_DONE:
        return { type: 'vfork-done', tid };
      case PTRACE_EVENT.EXIT:
        return { type: 'exiting', tid };
      case PTRACE_EVENT.STOP:
        return signal === SIGNAL.SIGTRAP ? { type: 'interrupted', tid } : { type: 'group-stop', tid, signal };
    }
    if (signal !== (SIGNAL.SIGTRAP | 0x80)) return { type: 'signal', tid, signal };
    const info = getSyscallInfo(tid);
    return info.entry
      ? { type: 'syscall-entry', tid, nr: info.nr, args: info.args }
      : { type: 'syscall-exit', tid, result: info.result };
  }

  #add(tid: number): void {
    if (!this.threads.has(tid)) this.threads.set(tid, { tid, stop: undefined });
  }

  /** Lets a stopped thread go on; `signal` is delivered to it (0: none). */
  resume(tid: number, how: Continue, signal = 0): void {
    const thread = this.threads.get(tid);
    if (thread === undefined) return;
    thread.stop = undefined;
    // ESRCH: killed meanwhile; the wait tells.
    ptrace(how === 'run' ? PTRACE.CONT : PTRACE.SYSCALL, tid, 0, signal);
  }

  /** A thread in a group-stop stays stopped, as SIGSTOP means it to, until SIGCONT (PTRACE_LISTEN). */
  listen(tid: number): undefined {
    const thread = this.threads.get(tid);
    if (thread !== undefined) thread.stop = undefined;
    ptrace(PTRACE.LISTEN, tid, 0, 0);
  }

  /**
   * A thread that stands at the entry of a system call does not make it: its registers become those
   * from before the call, so that it makes it when it goes on.
   */
  cancelSyscall(tid: number, nr: number): void {
    const registers = getRegisters(tid);
    setRegisters(tid, { ...registers, orig_rax: NO_SYSTEM_CALL });
    must('stepped', tid, ptrace(PTRACE.SYSCALL, tid, 0, 0));
    waitpid(tid, WALL);
    setRegisters(tid, {
      ...registers,
      rax: BigInt(nr),
      rip: registers.rip - SYSCALL_LENGTH,
      orig_rax: NO_SYSTEM_CALL,
    });
    const thread = this.threads.get(tid);
    if (thread !== undefined) thread.stop = { type: 'interrupted', tid };
  }

  /** A forked child is none of ours: it goes on untraced. It stands in its first stop, or soon will. */
  releaseChild(child: number): void {
    waitpid(child, WALL);
    ptrace(PTRACE.DETACH, child, 0, 0);
  }

  /**
   * Brings every running thread to a stop. Threads that start meanwhile are stopped too.
   *
   * @throws UnexecError `MAIN_THREAD_ENDED`; `CANNOT_STOP` when a thread does not stop within 10 s (it sleeps in the kernel
   *   where nothing interrupts it).
   */
  async stopAll(): Promise<void> {
    const interrupted = new Set<number>();
    const deadline = performance.now() + 10_000;
    while (!this.stopped) {
      this.#requireMainThread();
      for (const thread of this.threads.values()) {
        if (thread.stop !== undefined || interrupted.has(thread.tid)) continue;
        ptrace(PTRACE.INTERRUPT, thread.tid, 0, 0);
        interrupted.add(thread.tid);
      }
      const stop = await this.next(STOP_CHECK_MILLISECONDS);
      if (stop === undefined) {
        // The first thread may have ended only now, after it was interrupted.
        this.#requireMainThread();
        if (performance.now() < deadline) continue;
        const running = [...this.threads.values()].filter(thread => thread.stop === undefined);
        throw new UnexecError(
          'CANNOT_STOP',
          `thread ${running.map(thread => thread.tid).join(', ')} of process ${this.pid} did not stop within 10 s`,
          { hint: 'see what it waits for with: cat /proc/PID/task/TID/stack' },
        );
      }
      if (stop.type === 'new-process') this.releaseChild(stop.child);
      if (stop.type === 'exiting') this.resume(stop.tid, 'run');
      if (stop.type === 'new-thread' || stop.type === 'new-process' || stop.type === 'vfork-done') {
        // Within clone(2), which has no result yet: on to its end, where the interrupt stops it.
        this.resume(stop.tid, 'run');
        interrupted.delete(stop.tid);
      }
      if (stop.type === 'ended' && stop.tid === this.pid) {
        throw new UnexecError('PROCESS_GONE', `process ${this.pid} ended (${stop.how}) while it was stopped`);
      }
    }
  }

  /** A first thread that has ended stays until the others have, and cannot be stopped, nor made again. */
  #requireMainThread(): void {
    if (this.threads.size < 2 || this.stopOf(this.pid) !== undefined) return;
    if (threadState(this.pid) !== 'Z') return;
    throw new UnexecError(
      'MAIN_THREAD_ENDED',
      `the first thread of process ${this.pid} has ended while others go on`,
      { hint: 'choose a freeze point before it ends (pthread_exit in main)' },
    );
  }

  /** Ends the tracing; every thread goes on by itself, with the signal that it was about to get. */
  detach(): void {
    for (const { tid, stop } of this.threads.values()) {
      const signal = stop?.type === 'signal' && stop.signal !== SIGNAL.SIGSTOP ? stop.signal : 0;
      ptrace(PTRACE.DETACH, tid, 0, signal === SIGNAL.SIGTRAP ? 0 : signal);
    }
    this.threads.clear();
  }

  /** Kills the process and reaps it. Safe to call when it has ended. */
  kill(): void {
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      return; // gone already
    }
    for (const { tid, stop } of this.threads.values()) if (stop !== undefined) ptrace(PTRACE.CONT, tid, 0, 0);
    // The first thread is only reported once the others have been waited for; each has an exit stop.
    const deadline = performance.now() + 5000;
    while (this.threads.size > 0 && performance.now() < deadline) {
      for (const tid of [...this.threads.keys()].reverse()) {
        const waited = waitpid(tid, WNOHANG | WALL);
        if (waited === undefined) continue;
        if ('errno' in waited || (waited.status & 0xff) !== 0x7f) this.threads.delete(tid);
        else ptrace(PTRACE.CONT, tid, 0, 0);
      }
    }
    this.threads.clear();
  }
}

/** Which of the reasons of ptrace(2) for EPERM it is, as far as /proc tells. */
function notPermitted(pid: number): UnexecError {
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
