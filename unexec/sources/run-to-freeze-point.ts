/**
 * Runs a traced program until its freeze point is reached, and says where that was. Everything that a
 * program does on its way (threads, children, signals, another exec) goes on as if nobody looked.
 *
 * @module
 */
import { resolve } from 'node:path';
import { STT } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { type FreezePoint, freezePointText } from '../freeze-point.ts';
import type { Module } from '../image.ts';
import { Breakpoints } from '../linux/breakpoints.ts';
import { allThreadsSleep, waitsForInput } from '../linux/input-wait.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { findModules } from '../linux/modules.ts';
import { parseSmaps, readAuxv, readProc, readProcLink } from '../linux/proc.ts';
import { getRegisters } from '../linux/ptrace.ts';
import { SIGNAL, type Stop, type Tracee } from '../linux/tracee.ts';
import { findSymbol } from '../module-symbols.ts';

/** prctl(2) option of a freeze request: 'UNEX' (unexec.h). */
const REQUEST = 0x554e4558n;
const SYS = { write: 1, writev: 20, pwrite64: 18, prctl: 157, inotify_add_watch: 254 } as const;
const AT_ENTRY = 9;
/** A program that made no system call for this long, and sleeps, has nothing else to do. */
const IDLE_MILLISECONDS = 10;

export interface Reached {
  /** What was reached: of `auto`, which one. */
  readonly point: FreezePoint['type'];
  /** The thread that reached it. */
  readonly tid: number;
  /** Address of the program's `struct unexec_args`, when it asked. */
  readonly request: bigint | undefined;
  /** Paths given to inotify_add_watch, as far as system calls were followed. */
  readonly watchedPaths: readonly string[];
}

/**
 * Runs a tracee that stands in its exec stop; at its freeze point every thread stands.
 *
 * @throws UnexecError `ENDED_BEFORE_FREEZE_POINT`, `SYMBOL_NOT_FOUND`, `SYMBOL_IS_IFUNC`
 */
export async function runToFreezePoint(tracee: Tracee, point: FreezePoint): Promise<Reached> {
  const memory = new ProcessMemory(tracee.pid);
  try {
    const reached = await new Run(tracee, point, memory).run();
    await tracee.stopAll();
    return reached;
  } catch (error) {
    // It was on its last instructions when it was to be stopped.
    if (error instanceof UnexecError && error.code === 'PROCESS_GONE') throw endedBefore(point, error.message);
    throw error;
  } finally {
    memory.close();
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
  #memory: ProcessMemory;
  #breakpoints: Breakpoints;
  readonly #deadline: number;
  readonly #watchedPaths = new Set<string>();
  /** Threads that are in a call which waits for input. */
  readonly #inputWaits = new Set<number>();
  /** A call that reaches the freeze point when it returns. */
  #reachedOnExit:
    | { readonly tid: number; readonly point: 'request' | 'output'; readonly request?: bigint }
    | undefined;
  #syscalls = 0;
  #output = Buffer.alloc(0);
  #entry: bigint | undefined;
  #startMain: bigint | undefined;
  #linkMap: bigint | undefined;
  #target: bigint | undefined;

  constructor(tracee: Tracee, point: FreezePoint, memory: ProcessMemory) {
    this.#tracee = tracee;
    this.#point = point;
    this.#memory = memory;
    this.#breakpoints = new Breakpoints(memory);
    this.#deadline =
      performance.now() + (point.type === 'time' ? point.milliseconds : Number.POSITIVE_INFINITY);
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
    this.#started();
    for (const tid of this.#tracee.threads.keys()) this.#goOn(tid);
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
    this.#breakpoints.removeAll();
    return { point, tid, request, watchedPaths: [...this.#watchedPaths] };
  }

  #goOn(tid: number, signal = 0): undefined {
    this.#tracee.resume(tid, this.#wantsSyscalls ? 'to-syscall' : 'run', signal);
  }

  /** A program has just been loaded: its entry is where all its libraries are there. */
  #started(): void {
    this.#breakpoints = new Breakpoints(this.#memory);
    this.#inputWaits.clear();
    if (!this.#wantsBreakpoints) return;
    this.#entry = readAuxv(this.#tracee.pid).values.get(AT_ENTRY);
    if (this.#entry !== undefined) this.#breakpoints.insert(this.#entry);
  }

  #handle(stop: Stop): Reached | undefined {
    switch (stop.type) {
      case 'ended':
        this.#inputWaits.delete(stop.tid);
        if (stop.tid === this.#tracee.pid) throw endedBefore(this.#point, stop.how);
        return undefined;
      case 'exec':
        this.#memory.close();
        this.#memory = new ProcessMemory(this.#tracee.pid);
        this.#started();
        return this.#goOn(stop.tid);
      case 'new-process':
        this.#releaseChild(stop.child);
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
        return this.#onExit(stop.tid);
    }
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
      const address = this.#breakpoints.hit(tid);
      if (address !== undefined) return this.#onBreakpoint(tid, address);
    }
    return this.#goOn(tid, signal);
  }

  #onBreakpoint(tid: number, address: bigint): Reached | undefined {
    if (address === this.#target) return this.#reached(tid, this.#point.type);
    if (address === this.#startMain) {
      this.#breakpoints.remove(address);
      this.#aim(getRegisters(tid).rdi);
    } else if (address === this.#linkMap) {
      this.#breakpoints.stepOver(tid, address);
      this.#aimAtSymbol();
    } else if (address === this.#entry) {
      this.#breakpoints.remove(address);
      if (this.#point.type === 'main') this.#aimAtMain();
      else this.#aimAtSymbol();
    }
    return this.#goOn(tid);
  }

  #aim(address: bigint): void {
    this.#target = address;
    this.#breakpoints.insert(address);
  }

  #modules(): Module[] {
    const mappings = parseSmaps(readProc(`/proc/${this.#tracee.pid}/smaps`));
    return findModules(mappings, this.#memory, this.#entry ?? 0n);
  }

  /** A stripped program still tells libc where its main is. */
  #aimAtMain(): void {
    const modules = this.#modules();
    const main = findSymbol(modules.slice(0, 1), 'main');
    if (main !== undefined) {
      this.#aim(main.address);
      return;
    }
    const start = findSymbol(modules, '__libc_start_main');
    if (start === undefined) {
      throw new UnexecError(
        'SYMBOL_NOT_FOUND',
        'the program has neither a symbol main nor a libc that would call it',
        {
          hint: 'a static, stripped program needs another freeze point: symbol:, output:, stop, request',
        },
      );
    }
    this.#startMain = start.address;
    this.#breakpoints.insert(start.address);
  }

  /** A symbol of a library that is not loaded yet: ld.so calls _dl_debug_state after each dlopen. */
  #aimAtSymbol(): void {
    if (this.#point.type !== 'symbol') return;
    const modules = this.#modules();
    const symbol = findSymbol(modules, this.#point.name);
    if (symbol?.type === STT.STT_GNU_IFUNC) {
      throw new UnexecError(
        'SYMBOL_IS_IFUNC',
        `${this.#point.name} is chosen at run time among several functions`,
        {
          hint: 'name the function that is chosen, or another one',
        },
      );
    }
    if (symbol !== undefined) {
      if (this.#linkMap !== undefined) this.#breakpoints.remove(this.#linkMap);
      this.#aim(symbol.address);
      return;
    }
    if (this.#linkMap !== undefined) return;
    this.#linkMap = findSymbol(modules, '_dl_debug_state')?.address;
    if (this.#linkMap === undefined) {
      throw new UnexecError('SYMBOL_NOT_FOUND', `no function ${this.#point.name} in the program`, {
        hint: 'is it stripped? nm -D PROGRAM lists what a stripped one still tells',
      });
    }
    this.#breakpoints.insert(this.#linkMap);
  }

  #onEntry(tid: number, nr: number, args: readonly bigint[]): Reached | undefined {
    this.#syscalls++;
    if (this.#point.type === 'syscall' && this.#syscalls >= this.#point.count)
      return this.#reached(tid, 'syscall');
    if (nr === SYS.prctl && args[0] === REQUEST && this.#wantsRequest) {
      this.#reachedOnExit = { tid, point: 'request', request: args[1] ?? 0n };
    } else if (nr === SYS.inotify_add_watch) {
      this.#watchedPaths.add(this.#absolute(this.#string(args[1] ?? 0n)));
    } else if (this.#wantsInput && waitsForInput(this.#tracee.pid, nr, args, this.#memory)) {
      this.#inputWaits.add(tid);
    } else if (this.#point.type === 'output' && this.#writes(nr, args, this.#point.text)) {
      this.#reachedOnExit = { tid, point: 'output' };
    }
    return this.#goOn(tid);
  }

  #onExit(tid: number): Reached | undefined {
    this.#inputWaits.delete(tid);
    const reached = this.#reachedOnExit;
    if (reached?.tid === tid) return this.#reached(tid, reached.point, reached.request);
    return this.#goOn(tid);
  }

  #whenIdle(): Reached | undefined {
    const [waiting] = this.#inputWaits;
    if (waiting === undefined || !allThreadsSleep(this.#tracee.pid)) return undefined;
    return this.#reached(waiting, 'input');
  }

  /** Whether the text is complete with what this call writes to stdout or stderr. */
  #writes(nr: number, args: readonly bigint[], text: string): boolean {
    const [fd = 0n, address = 0n, length = 0n] = args;
    if (fd !== 1n && fd !== 2n) return false;
    const wanted = Buffer.from(text);
    const keep = wanted.length - 1;
    for (const bytes of this.#buffers(nr, address, Number(length))) {
      const seen = Buffer.concat([this.#output, bytes]);
      if (seen.includes(wanted)) return true;
      this.#output = keep === 0 ? Buffer.alloc(0) : seen.subarray(-keep);
    }
    return false;
  }

  #buffers(nr: number, address: bigint, length: number): Uint8Array[] {
    if (nr === SYS.write || nr === SYS.pwrite64)
      return [this.#memory.bytes(address, Math.min(length, 1 << 20))];
    if (nr !== SYS.writev) return [];
    const view = viewOf(this.#memory.bytes(address, Math.min(length, 1024) * 16));
    return Array.from({ length: view.byteLength / 16 }, (_, i) =>
      this.#memory.bytes(
        view.getBigUint64(i * 16, true),
        Math.min(Number(view.getBigUint64(i * 16 + 8, true)), 1 << 20),
      ),
    );
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
