/**
 * A function of a stopped process, called on our behalf: the first thread runs it from its entry to its return,
 * which leads into a breakpoint.
 *
 * @module
 */
import { constants } from 'node:os';
import { UnexecError } from '../errors.ts';
import { ARCHITECTURE } from './arch.ts';
import { Breakpoints } from './breakpoints.ts';
import { ProcessMemory } from './memory.ts';
import { SIGNAL, type Stop } from './stop.ts';
import type { Tracee } from './tracee.ts';

export interface FunctionCall {
  /** Address of the function, which takes no arguments. */
  readonly address: bigint;
  /** For messages. */
  readonly name: string;
  /** Address of an instruction that nothing executes meanwhile: where it returns to. */
  readonly returnTo: bigint;
  /** How long it may take. */
  readonly milliseconds: number;
}

/**
 * Calls a function by the first thread of a process whose threads all stand, and stops all of them again. Other
 * threads run meanwhile.
 *
 * @returns the register of results, of which the function's type says how much it means
 * @throws UnexecError `CALL_CRASHED`, `CALL_ENDED`, `CALL_TIMED_OUT`
 */
export async function callFunction(
  tracee: Tracee,
  memory: ProcessMemory,
  call: FunctionCall,
): Promise<bigint> {
  const breakpoints = new Breakpoints(memory);
  const before = ARCHITECTURE.getRegisters(tracee.pid);
  const { file, stackAfter } = ARCHITECTURE.atFunction(before, memory, call);
  ARCHITECTURE.setRegisters(tracee.pid, file);
  breakpoints.insert(call.returnTo);
  for (const tid of tracee.threads.keys()) tracee.resume(tid, 'run');

  const deadline = performance.now() + call.milliseconds;
  const watch: Watch = { tracee, breakpoints, call, fault: undefined };
  for (;;) {
    const left = deadline - performance.now();
    const stop = left > 0 ? await tracee.next(left) : undefined;
    if (stop === undefined) throw timedOut(call);
    if (!hasReturned(watch, stop, stackAfter)) continue;
    const result = ARCHITECTURE.result(ARCHITECTURE.getRegisters(tracee.pid));
    breakpoints.removeAll();
    await tracee.stopAll();
    return result;
  }
}

interface Watch {
  readonly tracee: Tracee;
  readonly breakpoints: Breakpoints;
  readonly call: FunctionCall;
  /** The last signal that can end a process, and where: told if it does. */
  fault: { readonly signal: number; readonly at: bigint } | undefined;
}

function hasReturned(watch: Watch, stop: Stop, stack: bigint): boolean {
  const { tracee, breakpoints, call } = watch;
  switch (stop.type) {
    case 'ended':
      if (stop.tid === tracee.pid) throw ended(watch, stop.how);
      return false;
    case 'exec':
      throw new UnexecError('CALL_ENDED', `${call.name} executed another program, and did not return`);
    case 'new-process': {
      const copy = new ProcessMemory(stop.child);
      breakpoints.removeFrom(copy);
      copy.close();
      tracee.releaseChild(stop.child);
      break;
    }
    case 'vfork-done':
      breakpoints.insertAgain();
      break;
    case 'group-stop':
      tracee.listen(stop.tid);
      return false;
    case 'signal':
      if (stop.signal === SIGNAL.SIGTRAP && breakpoints.hit(stop.tid) !== undefined) {
        // A thread of its own, or a call within the call, cannot be there: the stack tells.
        if (
          stop.tid === tracee.pid &&
          ARCHITECTURE.stackPointer(ARCHITECTURE.getRegisters(stop.tid)) === stack
        )
          return true;
      } else if (stop.signal !== SIGNAL.SIGSTOP) {
        const at = ARCHITECTURE.programCounter(ARCHITECTURE.getRegisters(stop.tid));
        watch.fault = { signal: stop.signal, at };
      }
      tracee.resume(stop.tid, 'run', stop.signal === SIGNAL.SIGTRAP ? 0 : stop.signal);
      return false;
  }
  tracee.resume(stop.tid, 'run');
  return false;
}

function ended({ call, fault }: Watch, how: string): UnexecError {
  const signal = /^signal (\d+)$/.exec(how)?.[1];
  if (signal === undefined) {
    return new UnexecError('CALL_ENDED', `${call.name} ended the process (${how}) rather than return`);
  }
  const where = fault?.signal === Number(signal) ? ` at 0x${fault.at.toString(16)}` : '';
  return new UnexecError('CALL_CRASHED', `${call.name} crashed: ${signalName(Number(signal))}${where}`);
}

const signalName = (signal: number): string =>
  Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;

const timedOut = ({ name, milliseconds }: FunctionCall): UnexecError =>
  new UnexecError('CALL_TIMED_OUT', `${name} did not return within ${milliseconds / 1000} s`);
