/**
 * Reads a stopped process into a `ProcessImage`. From here on only `image.memory` touches the process.
 * Facts: proc(5), ptrace(2), sigaction(2), getitimer(2), Documentation/arch/x86/xstate.rst.
 *
 * @module
 */
import { findEnvironment } from '../environment.ts';
import { UnexecError } from '../errors.ts';
import {
  type AddressLayout,
  endOf,
  type IntervalTimer,
  type MachineState,
  type ProcessIds,
  type ProcessImage,
  type Region,
  type SignalAction,
  stackPointer,
  threadPointer,
  type Vdso,
} from '../image.ts';
import { findOwnedLocks } from '../word-search.ts';
import { findZones, refineRegionKinds } from '../zones.ts';
import { ARCHITECTURE } from './arch.ts';
import { captureAttributes, captureLimits, captureSettings } from './attributes.ts';
import { findSyscallInstruction, SCRATCH_SIZE, scratchAddress } from './borrow.ts';
import { captureDescriptors, type DescriptorOptions } from './descriptors.ts';
import { giveBackSignal } from './give-back-signal.ts';
import { guardPages } from './guard-pages.ts';
import { locksNewMemory } from './locked-memory.ts';
import { ProcessMemory } from './memory.ts';
import { findModules } from './modules.ts';
import { refuseSigned } from './pointer-authentication.ts';
import { capturePosixTimers, dueNow, timerHelper } from './posix-timers.ts';
import { parseSmaps, readAuxv, readProc, readProcBytes, readProcLink, readStat, readStatus } from './proc.ts';
import { peekPendingSignals } from './ptrace.ts';
import { refuseSegments, refuseState } from './refused-state.ts';
import { isMemoryFile, markOwnFiles, nameRegions, refuseRegions } from './regions.ts';
import { RemoteThread } from './remote.ts';
import { ARCH, cpuFeatures, kernelIdentity } from './this-machine.ts';
import { captureThread, isAboutToGetSignal } from './thread-state.ts';
import type { Tracee } from './tracee.ts';
import { findWayBack } from './way-back.ts';

const AT_ENTRY = 9;
const AT_SYSINFO_EHDR = 33;

export interface CaptureOptions extends DescriptorOptions {
  readonly freezePoint: string;
  /** The thread that asked to be frozen, with its `struct unexec_args`. */
  readonly request: { readonly tid: number; readonly address: bigint } | undefined;
  readonly atMain: boolean;
  /** A process that is to go on even if we are killed meanwhile. */
  readonly survives: boolean;
}

export interface Captured {
  readonly image: ProcessImage;
  /** Puts every thread back as it stood and closes what was held; the process is still stopped. */
  readonly release: () => void;
}

/**
 * Captures a process whose threads all stand.
 *
 * @throws UnexecError `PROCESS_GONE`, `PROC_UNREADABLE`, `NO_SYSCALL_INSTRUCTION`
 */
export function capture(tracee: Tracee, options: CaptureOptions): Captured {
  const { pid } = tracee;
  for (const tid of tracee.threads.keys()) tracee.leaveSystemCall(tid);

  const memory = new ProcessMemory(pid);
  const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
  for (const mapping of mappings) if (mapping.populated === 0) memory.markEmpty(mapping.start);
  const auxv = readAuxv(pid);
  const modules = findModules(mappings, memory, auxv.values.get(AT_ENTRY) ?? 0n);
  const plainRegions = markOwnFiles(nameRegions(mappings, modules), pid);
  for (const region of plainRegions) {
    if (isMemoryFile(region)) memory.markObject(region.start, endOf(region), region.offset);
  }

  const instruction = findSyscallInstruction(plainRegions, memory);
  const wayBack = options.survives ? findWayBack(plainRegions, stackPointers(tracee), memory) : undefined;
  const remotes = [...tracee.threads.keys()].map(tid => new RemoteThread(tid, instruction, wayBack));
  const scratch = wayBack?.scratch ?? scratchAddress(plainRegions);
  const overwritten = memory.bytes(scratch, SCRATCH_SIZE);
  const giveBack = (): void => {
    for (const remote of remotes) remote.end();
    memory.write(scratch, overwritten);
  };
  const [main] = remotes;
  if (main === undefined) throw new UnexecError('PROCESS_GONE', `process ${pid} has no thread`);

  const ask = () => {
    const mutexes = findOwnedLocks({ regions: plainRegions, memory }, [...tracee.threads.keys()]);
    const threads = remotes.map(remote => {
      const stop = tracee.stopOf(remote.tid);
      if (stop === undefined) throw new UnexecError('CANNOT_STOP', `thread ${remote.tid} runs`);
      const thread = captureThread(pid, remote, stop, memory, scratch);
      // unexec_freeze() sees its prctl return 1 in the second life.
      const machine = thread.tid === options.request?.tid ? withResult(thread.machine, 1n) : thread.machine;
      const owned = mutexes.get(thread.tid) ?? [];
      const [onItsWay] = thread.pendingSignals;
      if (isAboutToGetSignal(stop) && onItsWay !== undefined) {
        giveBackSignal(pid, remote, onItsWay, memory, scratch);
        tracee.signalWaits(thread.tid);
      }
      // One thread at a time: there is one way back.
      remote.end();
      return { ...thread, machine, tidWords: [...thread.tidWords, ...owned] };
    });
    const status = readStatus(pid);
    const signals = captureSignals(main, status, memory, scratch);
    const timers = captureTimers(main, memory, scratch);
    const tids = threads.map(({ tid }) => tid);
    const posix = capturePosixTimers(pid, tids, main, memory, scratch);
    const attributes = captureAttributes(pid, main, memory, scratch);
    const segments = refuseSegments(main, scratch);
    const locksNew = locksNewMemory(pid, main, plainRegions);
    const layout = captureLayout(pid, main);
    return { threads, status, signals, timers, tids, posix, attributes, segments, locksNew, layout };
  };
  const asked = andThen(ask, giveBack);
  const { threads, status, signals, timers, tids, posix, attributes, segments, locksNew, layout } = asked;

  const descriptors = captureDescriptors(pid, options);
  const zones = findZones({
    regions: plainRegions,
    modules,
    threads: threads.map(thread => ({
      stackPointer: stackPointer(thread),
      threadPointer: threadPointer(thread),
    })),
    layout,
    memory,
  });
  const regions = refineRegionKinds(plainRegions, zones);
  const cwd = readProcLink(`/proc/${pid}/cwd`);

  const helpers = timerHelper(posix.timers, threads, { regions, modules, memory });
  const image: ProcessImage = {
    arch: ARCH,
    origin: {
      program: readProcLink(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''),
      argv: readProcBytes(`/proc/${pid}/cmdline`).toString().split('\0').slice(0, -1),
      pid,
      ids: idsOf(pid, status),
      freezePoint: options.freezePoint,
      frozenAt: new Date().toISOString(),
      kernel: kernelIdentity(),
      cpu: cpuFeatures(threads[0]?.machine),
    },
    regions,
    modules,
    threads: threads.map(thread => ({
      ...thread,
      tidWords: [...thread.tidWords, ...(helpers.get(thread.tid) ?? [])],
    })),
    files: descriptors.files,
    pendingSignals: peekPendingSignals(pid, true),
    signals,
    timers,
    posixTimers: posix.timers,
    layout,
    auxv: auxv.bytes,
    vdso: captureVdso(regions, auxv.values.get(AT_SYSINFO_EHDR), memory),
    zones,
    request: options.request?.address,
    atMain: options.atMain,
    environment: findEnvironment({ regions, modules, layout, memory }, options.atMain),
    limits: captureLimits(pid),
    attributes,
    settings: captureSettings(pid),
    guards: guardPages(pid),
    locksNewMemory: locksNew,
    umask: Number.parseInt(status.get('Umask') ?? '0022', 8),
    cwd,
    assumptions: [],
    refusals: [
      ...threads.flatMap(({ tid, machine }) => ARCHITECTURE.refuseThread(tid, machine)),
      ...refuseState(pid, tids, cwd),
      ...refuseSigned(pid, plainRegions, memory),
      ...segments,
      ...posix.refusals,
      ...refuseRegions(regions),
      ...descriptors.refusals,
    ],
    memory,
  };
  const release = (): void => {
    memory.close();
    if (remotes.some(({ wasStopped }) => wasStopped)) stopAgain(pid);
    for (const file of descriptors.files) if (file.what.type === 'memory') file.what.contents.close();
  };
  return { image, release };
}

/** As somebody else has asked for meanwhile. */
function stopAgain(pid: number): void {
  try {
    process.kill(pid, 'SIGSTOP');
  } catch {
    // killed meanwhile
  }
}

/** Also where the process ended meanwhile, or something of it is out of order. */
function andThen<T>(ask: () => T, giveBack: () => void): T {
  try {
    return ask();
  } finally {
    giveBack();
  }
}

const stackPointers = (tracee: Tracee): bigint[] =>
  [...tracee.threads.keys()].map(tid => ARCHITECTURE.stackPointer(ARCHITECTURE.getRegisters(tid)));

/** Actions of all signals that are caught or ignored. */
function captureSignals(
  main: RemoteThread,
  status: ReadonlyMap<string, string>,
  memory: ProcessMemory,
  scratch: bigint,
): SignalAction[] {
  const set = BigInt(`0x${status.get('SigCgt') ?? '0'}`) | BigInt(`0x${status.get('SigIgn') ?? '0'}`);
  const actions: SignalAction[] = [];
  for (let signal = 1; signal <= 64; signal++) {
    if (((set >> BigInt(signal - 1)) & 1n) === 0n) continue;
    main.call('rt_sigaction', signal, 0, scratch, 8);
    actions.push({ signal, action: memory.bytes(scratch, 32) });
  }
  return actions;
}

function captureTimers(main: RemoteThread, memory: ProcessMemory, scratch: bigint): IntervalTimer[] {
  const timers: IntervalTimer[] = [];
  for (const which of [0, 1, 2]) {
    if (main.call('getitimer', which, scratch) < 0n) continue;
    const value = memory.bytes(scratch, 32);
    // A timer whose signal waits to be taken stands still until then: nothing is left of its time.
    dueNow(value);
    if (value.some(byte => byte !== 0)) timers.push({ which, value });
  }
  return timers;
}

function captureLayout(pid: number, main: RemoteThread): AddressLayout {
  const stat = readStat(pid);
  return {
    startCode: stat(26),
    endCode: stat(27),
    startStack: stat(28),
    startData: stat(45),
    endData: stat(46),
    startBrk: stat(47),
    brk: main.call('brk', 0),
  };
}

/** Real user and group are the first of four numbers; parent, group and session are fields 4 to 6 of stat. */
function idsOf(pid: number, status: ReadonlyMap<string, string>): ProcessIds {
  const stat = readStat(pid);
  const first = (line: string): number => Number.parseInt(status.get(line) ?? '0', 10);
  return {
    ppid: Number(stat(4)),
    pgrp: Number(stat(5)),
    sid: Number(stat(6)),
    uid: first('Uid'),
    gid: first('Gid'),
  };
}

function captureVdso(
  regions: readonly Region[],
  start: bigint | undefined,
  memory: ProcessMemory,
): Vdso | undefined {
  const region = regions.find(({ kind }) => kind === 'vdso');
  if (region === undefined || start === undefined) return undefined;
  const vvar = regions.find(({ kind }) => kind === 'vvar');
  return {
    start: region.start,
    size: region.size,
    vvarStart: vvar?.start ?? region.start,
    bytes: memory.bytes(region.start, region.size),
  };
}

/** The machine with another result of the system call that it is in. */
function withResult(machine: MachineState, result: bigint): MachineState {
  return machine.arch === 'x86_64'
    ? { ...machine, registers: { ...machine.registers, rax: result } }
    : { ...machine, registers: { ...machine.registers, x0: result } };
}
