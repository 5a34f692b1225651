/**
 * A `ProcessImage` made by hand: nothing in it but what is given.
 *
 * @module
 */
import {
  ARM_REGISTER_NAMES,
  type ArmRegisters,
  type MachineState,
  type MemoryReader,
  PAGE,
  PAGE_BIG,
  type PageRange,
  type ProcessImage,
  type Thread,
  X86_REGISTER_NAMES,
  type X86Registers,
} from '../../unexec/image.ts';

/** Memory by pages: address of a page -> what it holds. Others were never touched. */
export type Pages = ReadonlyMap<bigint, Uint8Array>;

/** An image of a process without memory, threads or files, but for what is given. */
export const imageOf = (facts: Partial<ProcessImage> = {}): ProcessImage => ({
  arch: 'x86_64',
  origin: {
    program: '/bin/synthetic',
    argv: ['synthetic'],
    pid: 1,
    freezePoint: 'stop',
    frozenAt: '2024-01-01T00:00:00.000Z',
    kernel: { sysname: 'Linux', release: '6.1.0', version: '#1', machine: 'x86_64' },
    cpu: { flags: [], xcr0: 3n },
  },
  regions: [],
  modules: [],
  threads: [],
  files: [],
  pendingSignals: [],
  signals: [],
  timers: [],
  posixTimers: [],
  layout: { startCode: 0n, endCode: 0n, startData: 0n, endData: 0n, startBrk: 0n, brk: 0n, startStack: 0n },
  auxv: new Uint8Array(16),
  vdso: undefined,
  zones: [],
  request: undefined,
  atMain: false,
  environment: [],
  limits: [],
  attributes: [],
  settings: [],
  guards: [],
  locksNewMemory: false,
  umask: 0o022,
  cwd: '/',
  assumptions: [],
  refusals: [],
  memory: pagesMemory(new Map()),
  ...facts,
});

/** A thread whose registers are zero but for those that are given. */
export const threadOf = (
  registers: Partial<X86Registers>,
  facts: Partial<Thread> = {},
  xstate: Uint8Array = new Uint8Array(0),
): Thread =>
  threadWith({ arch: 'x86_64', registers: { ...zeros(X86_REGISTER_NAMES), ...registers }, xstate }, facts);

/** The same of aarch64. */
export const armThreadOf = (
  registers: Partial<ArmRegisters>,
  facts: Partial<Thread> = {},
  fpsimd: Uint8Array = new Uint8Array(528),
): Thread =>
  threadWith(
    {
      arch: 'aarch64',
      registers: { ...zeros(ARM_REGISTER_NAMES), ...registers },
      threadPointer: 0n,
      fpsimd,
      sve: undefined,
    },
    facts,
  );

const threadWith = (machine: MachineState, facts: Partial<Thread>): Thread => ({
  tid: 1,
  name: 'synthetic',
  machine,
  signalMask: 0n,
  scheduling: { attributes: undefined, affinity: undefined, ioPriority: undefined, timerSlack: undefined },
  altStack: { sp: 0n, flags: 2, size: 0 },
  clearTid: 0n,
  robustList: 0n,
  rseq: undefined,
  tidWords: [],
  tidRegisters: [],
  pendingSignals: [],
  ...facts,
});

const zeros = <Name extends string>(names: readonly Name[]): Record<Name, bigint> =>
  Object.fromEntries(names.map(name => [name, 0n])) as Record<Name, bigint>;

/** A reader of these pages; `onRead` is told every page that is read. */
export function pagesMemory(pages: Pages, onRead: (page: bigint) => void = () => {}): MemoryReader {
  return {
    read(address, into) {
      for (let at = 0; at < into.length; ) {
        const within = Number((address + BigInt(at)) % PAGE_BIG);
        const page = address + BigInt(at - within);
        const part = (pages.get(page) ?? ZEROS).subarray(within, within + into.length - at);
        onRead(page);
        into.set(part, at);
        at += part.length;
      }
    },
    touched(region) {
      const ranges: PageRange[] = [];
      for (let i = 0; i < region.size / PAGE; i++) {
        if (!pages.has(region.start + BigInt(i * PAGE))) continue;
        const last = ranges.at(-1);
        if (last !== undefined && last.first + last.count === i) {
          ranges[ranges.length - 1] = { first: last.first, count: last.count + 1 };
        } else {
          ranges.push({ first: i, count: 1 });
        }
      }
      return ranges;
    },
  };
}

const ZEROS = new Uint8Array(PAGE);
