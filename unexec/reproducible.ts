/**
 * What of a process differs from one run to the next without being the program's: ids of threads, the time of the
 * freeze, the CPU that it was on, and what calls that have returned left below the stack pointers. All of that is new
 * in each later life, or dead; here it gets fixed values, so that the same process gives the same file.
 *
 * @module
 */
import { CHUNK } from './chunk-writer.ts';
import { nonZeroPages } from './elide.ts';
import {
  ARM_REGISTER_NAMES,
  type ArmState,
  type MachineState,
  type MemoryReader,
  type MemoryRegion,
  PAGE,
  type PageRange,
  type ProcessAttribute,
  type ProcessImage,
  type RegisterName,
  stackPointer,
  type Thread,
  type X86State,
} from './image.ts';
import { ADDR_NO_RANDOMIZE } from './sources/fixed-start.ts';
import { loaderClocks } from './sources/loader-clocks.ts';

/** Below its stack pointer a function may still use so much (System V ABI, 3.2.2: the red zone). */
const RED_ZONE = 128n;
const TID_SIZE = 4n;
const CLOCK_SIZE = 8n;

interface Extent {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

/** `isStopped`: it has stopped itself; `seconds`: the time of the freeze, since 1970. */
export async function reproducibleImage(
  image: ProcessImage,
  isStopped: boolean,
  seconds: number,
): Promise<ProcessImage> {
  const { origin, attributes } = image;
  const threads = image.threads.map(thread => (isStopped ? withItsPid(thread, origin.pid) : thread));
  const clocks = await loaderClocks(image.modules);
  return {
    ...image,
    origin: { ...origin, pid: 1, frozenAt: new Date(seconds * 1000).toISOString() },
    threads: threads.map((thread, i) => ({
      ...thread,
      tid: i + 1,
      machine: withoutIds(thread.machine, thread.tidRegisters),
    })),
    attributes: attributes.flatMap(randomised),
    memory: new BlankedMemory(image.memory, [
      ...clocks.map(start => ({ start, end: start + CLOCK_SIZE })),
      ...threads.flatMap(wordsOfThread),
      ...threads.flatMap((thread, i) => deadStack(image, thread, i === 0)),
    ]),
  };
}

/** SOURCE_DATE_EPOCH, as packagers set it; else 1970. */
export function freezeTime(env: NodeJS.ProcessEnv): number {
  const text = env['SOURCE_DATE_EPOCH'] ?? '';
  return /^\d{1,11}$/.test(text) ? Number(text) : 0;
}

/**
 * A first thread that has stopped itself, by kill(2) or tgkill(2) with its own id, may have that in other registers,
 * too. All of them get the new one.
 */
function withItsPid(thread: Thread, pid: number): Thread {
  const { machine, tid, tidRegisters } = thread;
  const id = BigInt(pid);
  const [first, general] = machine.arch === 'x86_64' ? x86General(machine) : armGeneral(machine);
  if (tid !== pid || first !== id) return thread;
  const names = general.filter(([, value]) => value === id).map(([name]) => name);
  return { ...thread, tidRegisters: [...new Set([...tidRegisters, ...names])] };
}

type General = readonly [firstArgument: bigint, all: readonly (readonly [RegisterName, bigint])[]];

function x86General({ registers }: X86State): General {
  const names = [
    'rax',
    'rbx',
    'rdx',
    'rsi',
    'rdi',
    'rbp',
    'r8',
    'r9',
    'r10',
    'r12',
    'r13',
    'r14',
    'r15',
  ] as const;
  return [registers.rdi, names.map(name => [name, registers[name]] as const)];
}

function armGeneral({ registers }: ArmState): General {
  const names = ARM_REGISTER_NAMES.filter(name => /^x\d+$/.test(name));
  return [registers.x0, names.map(name => [name, registers[name]] as const)];
}

/** They are set at each start. */
function withoutIds(machine: MachineState, names: readonly RegisterName[]): MachineState {
  const zeros = Object.fromEntries(names.map(name => [name, 0n]));
  return machine.arch === 'x86_64'
    ? { ...machine, registers: { ...machine.registers, ...zeros } }
    : { ...machine, registers: { ...machine.registers, ...zeros } };
}

/** The program was started without address randomisation; its later lives are as their callers want them. */
function randomised(attribute: ProcessAttribute): ProcessAttribute[] {
  if (attribute.call !== 'personality') return [attribute];
  const value = (attribute.args[0] ?? 0) & ~ADDR_NO_RANDOMIZE;
  return value === 0 ? [] : [{ ...attribute, args: [value] }];
}

/** Words that each start sets: ids, and the area in which the kernel tells the CPU. */
function wordsOfThread({ tidWords, rseq }: Thread): Extent[] {
  const words = tidWords.map(start => ({ start, end: start + TID_SIZE }));
  return rseq === undefined
    ? words
    : [...words, { start: rseq.address, end: rseq.address + BigInt(rseq.length) }];
}

/** Stacks of which nobody tells where they begin are left alone. */
function deadStack({ regions, zones }: ProcessImage, thread: Thread, isMain: boolean): Extent[] {
  const sp = stackPointer(thread);
  const begins = isMain
    ? regions.filter(({ kind }) => kind === 'stack').map(({ start, size }) => ({ start, size }))
    : zones.filter(({ kind }) => kind === 'thread-stack').map(({ base, size }) => ({ start: base, size }));
  return begins
    .filter(({ start, size }) => start < sp - RED_ZONE && sp < start + BigInt(size))
    .map(({ start }) => ({ start, end: sp - RED_ZONE }));
}

/** Memory of which some is zero, whatever it holds. */
class BlankedMemory implements MemoryReader {
  readonly #memory: MemoryReader;
  readonly #blanks: readonly Extent[];
  readonly changed?: (region: MemoryRegion) => Iterable<PageRange>;

  constructor(memory: MemoryReader, blanks: readonly Extent[]) {
    this.#memory = memory;
    this.#blanks = blanks;
    if (memory.changed !== undefined) this.changed = region => memory.changed?.(region) ?? [];
  }

  read(address: bigint, into: Uint8Array): void {
    this.#memory.read(address, into);
    const end = address + BigInt(into.length);
    for (const blank of this.#blanks) {
      if (blank.end <= address || end <= blank.start) continue;
      into.fill(
        0,
        Math.max(0, Number(blank.start - address)),
        Math.min(into.length, Number(blank.end - address)),
      );
    }
  }

  /** Pages that hold something: which ones were touched otherwise is a matter of luck (huge pages). */
  *touched(region: MemoryRegion): Iterable<PageRange> {
    const chunk = new Uint8Array(CHUNK);
    for (const { first, count } of this.#memory.touched(region)) {
      for (let page = 0; page < count; page += CHUNK / PAGE) {
        const bytes = chunk.subarray(0, Math.min(CHUNK, (count - page) * PAGE));
        this.read(region.start + BigInt((first + page) * PAGE), bytes);
        for (const range of nonZeroPages(bytes)) {
          yield { first: first + page + range.first, count: range.count };
        }
      }
    }
  }
}
