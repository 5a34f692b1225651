/**
 * Runs a traced program until its freeze point is reached, and says where that was. Everything that a
 * program does on its way (threads, children, signals, another exec) goes on as if nobody looked.
 *
 * @module
 */
import { resolve } from 'node:path';
import { UnexecError } from '../errors.ts';
import { type FreezePoint, freezePointText } from '../freeze-point.ts';
import { Breakpoints } from '../linux/breakpoints.ts';
import { allThreadsSleep, waitsForInput } from '../linux/input-wait.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { readProcLink } from '../linux/proc.ts';
import { SIGNAL, type Stop } from '../linux/stop.ts';
import { nameOfCall } from '../linux/system-calls.ts';
import { ARCH } from '../linux/this-machine.ts';
import type { Tracee } from '../linux/tracee.ts';
import { undoInterruption } from '../linux/undo-interruption.ts';
import { beforeNextStart } from './before-start.ts';
import { FixedStart } from './fixed-start.ts';
import { FunctionAim } from './function-aim.ts';
import { type Call, OutputSearch } from './output-search.ts';

/** prctl(2) option of a freeze request: 'UNEX' (unexec.h). */
const REQUEST = 0x554e4558n;
/** A program that made no system call for this long, and sleeps, has nothing else to do. */
const IDLE_MILLISECONDS = 10;

export interface Reached {
  /** What was reached: of `auto`, which one. */
  readonly point: FreezePoint['type'];
  /** The thread that reached it. */
  readonly tid: number;
  /** When it was reached (performance.now()). */
  readonly stoppedAt: number;
  /** Address of the program's `struct unexec_args`, when it asked. */
  readonly request: bigint | undefined;
  /** Paths given to inotify_add_watch, as far as system calls were followed. */
  readonly watchedPaths: readonly string[];
}

/**
 * Runs a tracee that stands in its exec stop; at its freeze point every thread stands. `isFixed`: it was started as
 * fixed-start.ts does, and goes on so.
 *
 * @throws UnexecError `ENDED_BEFORE_FREEZE_POINT`, `SYMBOL_NOT_FOUND`, `SYMBOL_IS_IFUNC`
 */
export async function runToFreezePoint(
  tracee: Tracee,
  point: FreezePoint,
  isFixed = false,
): Promise<Reached> {
  return runTo(new Run(tracee, point, { isFound: false, isFixed }), point);
}

/**
 * The same for a process that is traced since a moment and runs: `now` stops it where it is. If this fails, the
 * process is as it was, and may be stopped.
 *
 * @throws UnexecError as `runToFreezePoint`
 */
export async function runOnToFreezePoint(tracee: Tracee, point: FreezePoint): Promise<Reached> {
  const stoppedAt = performance.now();
  await tracee.stopAll(() => true);
  undoInterruption(tracee);
  if (point.type === 'now') {
    return { point: 'now', tid: tracee.pid, stoppedAt, request: undefined, watchedPaths: [] };
  }
  return runTo(new Run(tracee, point, { isFound: true, isFixed: false }), point);
}

async function runTo(run: Run, point: FreezePoint): Promise<Reached> {
  try {
    return await run.run();
  } catch (error) {
    // It was on its last instructions when it was to be stopped.
    if (error instanceof UnexecError && error.code === 'PROCESS_GONE')
      throw endedBefore(point, error.message);
    throw error;
  } finally {
    run.close();
  }
}

function endedBefore(point: FreezePoint, how: string): UnexecError {
  const others = ['request', 'stop', 'input', 'main', 'symbol:NAME', 'output:TEXT', 'time:DURATION'];
  return new UnexecError(
    'ENDED_BEFORE_FREEZE_POINT',
    `the program ended (${how}) before its freeze point ${freezePointText(point)}`,
    { hint: `choose another one with --at: ${others.join(', ')}` },
  );
}

class Run {
  readonly #tracee: Tracee;
  readonly #point: FreezePoint;
  readonly #isFound: boolean;
  readonly #fixed: FixedStart | undefined;
  #memory: ProcessMemory;
  #breakpoints: Breakpoints;
  #aim: FunctionAim | undefined;
  readonly #deadline: number;
  readonly #watchedPaths = new Set<string>();
  /** Threads that are in a call which waits for input. */
  readonly #inputWaits = new Set<number>();
  /** Calls that may reach the freeze point when they return, by thread. */
  readonly #calls = new Map<number, Call>();
  readonly #output: OutputSearch | undefined;
  #syscalls = 0;

  /** `isFound`: it was running before; all its threads stand. */
  constructor(
    tracee: Tracee,
    point: FreezePoint,
    { isFound, isFixed }: { readonly isFound: boolean; readonly isFixed: boolean },
  ) {
    this.#fixed = isFixed ? new FixedStart(tracee.pid) : undefined;
    this.#tracee = tracee;
    this.#point = point;
    this.#isFound = isFound;
    this.#memory = new ProcessMemory(tracee.pid);
    this.#breakpoints = new Breakpoints(this.#memory);
    this.#output = point.type === 'output' ? new OutputSearch(point.text) : undefined;
    this.#deadline =
      performance.now() + (point.type === 'time' ? point.milliseconds : Number.POSITIVE_INFINITY);
  }

  close(): void {
    this.#memory.close();
  }

  get #wantsRequest(): boolean {
    return this.#point.type === 'auto' || this.#point.type === 'request';
  }
  get #wantsStop(): boolean {
    return this.#point.type === 'auto' || this.#point.type === 'stop';
  }
  get #wantsInput(): boolean {
    return this.#point.type === 'auto' || this.#point.type === 'input';
  }
  get #wantsBreakpoints(): boolean {
    return this.#point.type === 'main' || this.#point.type === 'symbol';
  }
  get #wantsSyscalls(): boolean {
    return !(this.#point.type === 'stop' || this.#point.type === 'time' || this.#wantsBreakpoints);
  }

  async run(): Promise<Reached> {
    try {
      const reached = await this.#untilReached();
      await this.#standStill();
      return reached;
    } catch (error) {
      // Another one's process goes on as if nothing had been.
      if (this.#isFound && this.#tracee.threads.size > 0) {
        this.#tracee.ignoreAbort();
        await this.#standStill();
      }
      throw error;
    }
  }

  async #standStill(): Promise<void> {
    this.#fixed?.allowAllCpus();
    this.#breakpoints.removeAll();
    await this.#tracee.stopAll((tid, signal) => this.#isFound && !this.#isOurs(tid, signal));
    // Threads that ran into a breakpoint at the same time stand behind it.
    for (const { tid, stop } of this.#tracee.threads.values()) {
      if (stop?.type === 'signal') this.#isOurs(tid, stop.signal);
    }
    undoInterruption(this.#tracee);
  }

  /** A signal that a breakpoint has sent; then the thread stands before it. */
  #isOurs(tid: number, signal: number): boolean {
    return signal === SIGNAL.SIGTRAP && this.#breakpoints.hit(tid) !== undefined;
  }

  async #untilReached(): Promise<Reached> {
    this.#started(this.#isFound);
    for (const tid of this.#tracee.threads.keys()) {
      if (this.#tracee.stopOf(tid)?.type === 'group-stop') this.#tracee.listen(tid);
      else this.#goOn(tid);
    }
    for (;;) {
      const left = this.#deadline - performance.now();
      if (left <= 0) return this.#reached(this.#tracee.pid, 'time');
      const idle = this.#wantsInput ? IDLE_MILLISECONDS : Number.POSITIVE_INFINITY;
      const stop = await this.#tracee.next(Math.min(idle, left));
      // Also what comes at the last moment is handled: a thread must not be captured within its exit.
      const reached = stop === undefined ? this.#whenIdle() : this.#handle(stop);
      if (reached !== undefined) return reached;
    }
  }

  #reached(tid: number, point: FreezePoint['type'], request?: bigint): Reached {
    return { point, tid, stoppedAt: performance.now(), request, watchedPaths: [...this.#watchedPaths] };
  }

  #goOn(tid: number, signal = 0): undefined {
    const follows = this.#wantsSyscalls || this.#fixed?.isWatched === true;
    this.#tracee.resume(tid, follows ? 'to-syscall' : 'run', signal);
  }

  /** A program has just been loaded, or has been running for long. */
  #started(isRunning: boolean): void {
    this.#breakpoints = new Breakpoints(this.#memory);
    this.#inputWaits.clear();
    this.#calls.clear();
    if (!this.#wantsBreakpoints) return;
    this.#aim = new FunctionAim(this.#tracee.pid, this.#point, this.#memory, this.#breakpoints, isRunning);
  }

  #handle(stop: Stop): Reached | undefined {
    switch (stop.type) {
      case 'ended':
        this.#inputWaits.delete(stop.tid);
        this.#calls.delete(stop.tid);
        if (stop.tid === this.#tracee.pid) throw this.#ended(stop.how);
        return undefined;
      case 'exec':
        this.#memory.close();
        this.#memory = new ProcessMemory(this.#tracee.pid);
        beforeNextStart(stop.tid);
        this.#fixed?.again();
        this.#started(false);
        return this.#goOn(stop.tid);
      case 'new-process':
        this.#releaseChild(stop.child);
        return this.#goOn(stop.tid);
      case 'vfork-done':
        this.#breakpoints.insertAgain();
        return this.#goOn(stop.tid);
      case 'group-stop':
        return this.#tracee.listen(stop.tid);
      case 'exiting':
        this.#tracee.resume(stop.tid, 'run');
        return undefined;
      case 'new-thread':
      case 'interrupted':
        return this.#goOn(stop.tid);
      case 'signal':
        return this.#onSignal(stop.tid, stop.signal);
      case 'syscall-entry':
        return this.#onEntry(stop.tid, stop.nr, stop.args);
      case 'syscall-exit':
        return this.#onExit(stop.tid, stop.result);
    }
  }

  #ended(how: string): UnexecError {
    if (this.#aim?.found === false && this.#point.type === 'symbol')
      return this.#aim.notFound(`the program ended (${how}), and no library that it opened has it`);
    return endedBefore(this.#point, how);
  }

  #releaseChild(child: number): void {
    if (this.#wantsBreakpoints) {
      const copy = new ProcessMemory(child);
      this.#breakpoints.removeFrom(copy);
      copy.close();
    }
    this.#tracee.releaseChild(child);
  }

  #onSignal(tid: number, signal: number): Reached | undefined {
    if (signal === SIGNAL.SIGSTOP && this.#wantsStop) return this.#reached(tid, 'stop');
    if (signal === SIGNAL.SIGTRAP) {
      const hit = this.#breakpoints.hit(tid);
      if (hit !== undefined) {
        const reached = !hit.gone && this.#aim?.hit(tid, hit.address) === true;
        return reached ? this.#reached(tid, this.#point.type) : this.#goOn(tid);
      }
    }
    return this.#goOn(tid, signal);
  }

  #onEntry(tid: number, nr: number, args: readonly bigint[]): Reached | undefined {
    this.#syscalls++;
    const name = nameOfCall(nr, ARCH);
    this.#fixed?.onEntry(tid, name, args);
    if (this.#point.type === 'syscall' && this.#syscalls >= this.#point.count)
      return this.#reached(tid, 'syscall');
    if (
      (name === 'prctl' && args[0] === REQUEST && this.#wantsRequest) ||
      this.#output?.follows({ name, args }) === true
    ) {
      this.#calls.set(tid, { name, args });
    } else if (name === 'inotify_add_watch') {
      this.#watchedPaths.add(this.#absolute(this.#string(args[1] ?? 0n)));
    } else if (this.#wantsInput && waitsForInput(this.#tracee.pid, name, args, this.#memory)) {
      this.#inputWaits.add(tid);
    }
    return this.#goOn(tid);
  }

  #onExit(tid: number, result: bigint): Reached | undefined {
    this.#inputWaits.delete(tid);
    this.#fixed?.onExit(tid, result, this.#memory);
    const call = this.#calls.get(tid);
    this.#calls.delete(tid);
    if (call?.name === 'prctl') return this.#reached(tid, 'request', call.args[1] ?? 0n);
    if (call !== undefined && this.#output?.completes(call, result, this.#memory) === true)
      return this.#reached(tid, 'output');
    return this.#goOn(tid);
  }

  #whenIdle(): Reached | undefined {
    const [waiting] = this.#inputWaits;
    if (waiting === undefined || !allThreadsSleep(this.#tracee.pid)) return undefined;
    return this.#reached(waiting, 'input');
  }

  #string(address: bigint): string {
    const bytes = Buffer.from(this.#memory.bytes(address, 4096));
    const end = bytes.indexOf(0);
    return bytes.subarray(0, end < 0 ? undefined : end).toString();
  }

  #absolute(path: string): string {
    return resolve(readProcLink(`/proc/${this.#tracee.pid}/cwd`), path);
  }
}
