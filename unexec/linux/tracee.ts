/**
 * A process that we trace: which threads it has, which of them stand, and the next thing that happens.
 * ptrace(2) reports through waitpid(2); it is polled a thread at a time, because a wait for «any
 * child» would take away the exits of children that other code in this Node process waits for.
 *
 * @module
 */
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { UnexecError } from '../errors.ts';
import { ARCHITECTURE, type WaitingCall } from './arch.ts';
import { ERRNO, errnoName } from './errno.ts';
import { ptrace, waitpid } from './libc.ts';
import { threadState } from './proc.ts';
import { PTRACE } from './ptrace.ts';
import { decodeStop, SIGNAL, type Stop } from './stop.ts';

/** How long a wait for stops lasts before it is looked at what may have come to pass without one. */
const STOP_CHECK_MILLISECONDS = 50;
const WNOHANG = 1;
const WALL = 0x40000000;

interface TracedThread {
  readonly tid: number;
  /** The stop that it stands in; undefined while it runs. */
  stop: Stop | undefined;
  /** The call that it waited in when it was interrupted, where the machine does not tell that afterwards. */
  waitedIn?: WaitingCall | undefined;
  /** How it runs, or ran last. */
  how: Continue;
}

/** How a stopped thread goes on. */
export type Continue = 'run' | 'to-syscall';

/** Sees the stops of a tracee before anyone else, so that the program is another one to those who run it. */
export interface Interceptor {
  /** It must see system calls, also of a thread that is to run. */
  readonly wantsSyscalls: boolean;
  /** Whether it has dealt with the stop: then the thread goes on as before, and nobody hears of it. */
  handles(stop: Stop): boolean;
  /** This thread, or forked child, is traced no longer; it stands. */
  releases(tid: number): void;
}

/** Made by `seizeChild` and `seizeProcess`. */
export class Tracee {
  readonly pid: number;
  readonly threads = new Map<number, TracedThread>();
  interceptor: Interceptor | undefined;
  #abort: AbortSignal | undefined;
  #lastYield = performance.now();
  /** Every thread is to stand, where it may. */
  #stopping = false;

  constructor(pid: number, abort: AbortSignal | undefined) {
    this.pid = pid;
    this.#abort = abort;
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
    const stop = decodeStop(thread.tid, waited.status);
    if (stop.type === 'ended') this.threads.delete(thread.tid);
    else thread.stop = stop;
    if (stop.type === 'new-thread') this.add(stop.child);
    if (stop.type === 'exec') {
      for (const other of [...this.threads.keys()]) if (other !== this.pid) this.threads.delete(other);
    }
    if (!this.#isIntercepted(thread, stop)) return stop;
    if (this.#stopping) {
      thread.stop = { type: 'interrupted', tid: thread.tid };
      return thread.stop;
    }
    this.resume(thread.tid, thread.how);
    return undefined;
  }

  #isIntercepted({ how }: TracedThread, stop: Stop): boolean {
    if (this.interceptor === undefined) return false;
    if (this.interceptor.handles(stop)) return true;
    return (
      !this.#stopping && how === 'run' && (stop.type === 'syscall-entry' || stop.type === 'syscall-exit')
    );
  }

  /** A thread that is traced, and runs. */
  add(tid: number): void {
    if (!this.threads.has(tid)) this.threads.set(tid, { tid, stop: undefined, how: 'run' });
  }

  /** Lets a stopped thread go on; `signal` is delivered to it (0: none). */
  resume(tid: number, how: Continue, signal = 0): void {
    const thread = this.threads.get(tid);
    if (thread === undefined) return;
    thread.stop = undefined;
    thread.how = how;
    const runs = how === 'run' && this.interceptor?.wantsSyscalls !== true;
    // ESRCH: killed meanwhile; the wait tells.
    ptrace(runs ? PTRACE.CONT : PTRACE.SYSCALL, tid, 0, signal);
  }

  /** A thread in a group-stop stays stopped, as SIGSTOP means it to, until SIGCONT (PTRACE_LISTEN). */
  listen(tid: number): undefined {
    const thread = this.threads.get(tid);
    if (thread !== undefined) thread.stop = undefined;
    ptrace(PTRACE.LISTEN, tid, 0, 0);
  }

  /** A thread that is about to make a system call does not make it now: it will, when it goes on. */
  leaveSystemCall(tid: number): void {
    const thread = this.threads.get(tid);
    if (thread?.stop === undefined || !ARCHITECTURE.leaveSystemCall(tid, thread.stop)) return;
    thread.stop = { type: 'interrupted', tid };
  }

  /** A forked child is none of ours: it goes on untraced. It stands in its first stop, or soon will. */
  releaseChild(child: number): void {
    waitpid(child, WALL);
    this.interceptor?.releases(child);
    ptrace(PTRACE.DETACH, child, 0, 0);
  }

  /**
   * Brings every running thread to a stop. Threads that start meanwhile are stopped too.
   *
   * @param isDelivered whether a signal that a thread is about to get is given to it at once, so that none is held
   *   back; otherwise the thread stands with it
   * @throws UnexecError `MAIN_THREAD_ENDED`; `CANNOT_STOP` when a thread does not stop within 10 s (it sleeps in the kernel
   *   where nothing interrupts it).
   */
  async stopAll(isDelivered: (tid: number, signal: number) => boolean = () => false): Promise<void> {
    this.#stopping = true;
    try {
      await this.#untilStopped(isDelivered);
    } finally {
      this.#stopping = false;
    }
  }

  async #untilStopped(isDelivered: (tid: number, signal: number) => boolean): Promise<void> {
    const interrupted = new Set<number>();
    const deadline = performance.now() + 10_000;
    while (!this.stopped) {
      this.#requireMainThread();
      for (const thread of this.threads.values()) {
        if (thread.stop !== undefined || interrupted.has(thread.tid)) continue;
        thread.waitedIn = ARCHITECTURE.callOf(this.pid, thread.tid);
        ptrace(PTRACE.INTERRUPT, thread.tid, 0, 0);
        interrupted.add(thread.tid);
      }
      const stop = await this.next(STOP_CHECK_MILLISECONDS);
      if (stop === undefined) {
        // The first thread may have ended only now, after it was interrupted.
        this.#requireMainThread();
        if (performance.now() < deadline) continue;
        throw this.#cannotStop();
      }
      if (stop.type === 'new-process') this.releaseChild(stop.child);
      if (stop.type === 'exiting') this.resume(stop.tid, 'run');
      if (stop.type === 'signal' && isDelivered(stop.tid, stop.signal)) {
        this.resume(stop.tid, 'run', stop.signal);
        interrupted.delete(stop.tid);
      }
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

  #cannotStop(): UnexecError {
    const running = [...this.threads.values()].filter(thread => thread.stop === undefined);
    return new UnexecError(
      'CANNOT_STOP',
      `thread ${running.map(thread => thread.tid).join(', ')} of process ${this.pid} did not stop within 10 s`,
      { hint: 'see what it waits for with: cat /proc/PID/task/TID/stack' },
    );
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

  /** From here on an abort does not end waits: the tracing is to be ended properly. */
  ignoreAbort(): void {
    this.#abort = undefined;
  }

  /** A signal that a thread was about to get waits for it again; it need not be delivered when it goes on. */
  signalWaits(tid: number): void {
    const thread = this.threads.get(tid);
    if (thread !== undefined) thread.stop = { type: 'interrupted', tid };
  }

  /** Ends the tracing; every thread goes on by itself, with the signal that it was about to get. */
  detach(): void {
    for (const { tid, stop } of this.threads.values()) {
      if (stop !== undefined) this.interceptor?.releases(tid);
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
