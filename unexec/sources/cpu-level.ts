/**
 * A program that is started for a CPU level: glibc is told to choose nothing newer, and where this machine can, CPUID
 * is answered for the level, so that the program's own dispatch chooses nothing newer either.
 *
 * @module
 */
import { type CpuLevel, levelOf } from '../cpu-features.ts';
import type { Reason } from '../errors.ts';
import type { CpuRestriction, ProcessImage } from '../image.ts';
import { CpuidTrap } from '../linux/cpuid-trap.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { readStat } from '../linux/proc.ts';
import type { Stop } from '../linux/stop.ts';
import type { Interceptor, Tracee } from '../linux/tracee.ts';
import { stateInUse } from '../xstate.ts';
import { hideVariables, type LoaderVariables, type Range, sortVariables } from './loader-variables.ts';

const SYS_arch_prctl = 158n;
const ARCH_SET_FS = 0x1002n;
const SIGSEGV = 11;
/** Field of /proc/PID/stat: address of argc on the stack of a new program. */
const START_STACK = 28;

/** The program that is started for a level: to be made in its exec stop, before its first instruction. */
export class StartedForCpu implements Interceptor {
  readonly restriction: CpuRestriction;
  /** System calls are followed until the loader has set its thread pointer: by then it has read its variables. */
  wantsSyscalls = true;
  readonly #pid: number;
  readonly #variables: LoaderVariables;
  /** What is to be erased. */
  readonly #ranges: readonly Range[];
  readonly #trap: CpuidTrap | undefined;
  #isAnother = false;

  constructor(tracee: Tracee, level: Exclude<CpuLevel, 'native'>, variables: LoaderVariables) {
    this.#pid = tracee.pid;
    this.#variables = variables;
    this.#ranges = this.#withMemory(memory => sortVariables(memory, this.#stack(), variables));
    this.#trap = CpuidTrap.set(tracee.pid, levelOf(level)?.features ?? new Set());
    this.restriction = { level, by: this.#trap === undefined ? 'tunables' : 'trapping' };
    tracee.interceptor = this;
  }

  handles(stop: Stop): boolean {
    if (stop.type === 'exec') {
      this.#isAnother = true;
      this.wantsSyscalls = false;
    }
    if (this.wantsSyscalls && stop.type === 'syscall-entry') {
      if (BigInt(stop.nr) === SYS_arch_prctl && stop.args[0] === ARCH_SET_FS) this.#hide();
    }
    return stop.type === 'signal' && stop.signal === SIGSEGV && this.#trap?.answer(stop.tid) === true;
  }

  releases(tid: number): void {
    this.#trap?.release(tid);
  }

  close(): void {
    this.#trap?.close();
  }

  #hide(): void {
    this.wantsSyscalls = false;
    this.#withMemory(memory => hideVariables(memory, this.#stack(), this.#variables, this.#ranges));
  }

  /** Every thread stands at the freeze point: the image with what it can need at the most. */
  restrict(image: ProcessImage): ProcessImage {
    // A program without a C library has never set a thread pointer.
    if (this.wantsSyscalls) this.#hide();
    const { cpu } = image.origin;
    const level = levelOf(this.restriction.level);
    if (level === undefined) return image;
    const restricted = {
      flags: cpu.flags.filter(flag => level.features.has(flag)),
      xcr0: cpu.xcr0 & level.xcr0,
      restriction: this.restriction,
    };
    return {
      ...image,
      origin: { ...image.origin, cpu: restricted },
      refusals: [...image.refusals, ...this.#refusals(image, level.xcr0)],
    };
  }

  #refusals({ threads }: ProcessImage, xcr0: bigint): Reason[] {
    const { level } = this.restriction;
    if (this.#isAnother) {
      return [
        {
          code: 'CPU_LEVEL_LOST',
          what: `the program has become another one (execve), which was not started for ${level}`,
          remedy: 'start the other one directly',
        },
      ];
    }
    return threads.flatMap(({ tid, machine }) => {
      const beyond = stateInUse(machine) & ~xcr0;
      if (beyond === 0n) return [];
      return [
        {
          code: 'CPU_STATE_IN_USE',
          what: `thread ${tid} uses CPU state that ${level} lacks (XCR0 0x${beyond.toString(16)}): it has asked the CPU itself`,
          remedy:
            'have the program choose other code by its own means (OPENSSL_ia32cap, GODEBUG, java -XX:UseAVX), or freeze on such a CPU',
        },
      ];
    });
  }

  #stack(): bigint {
    return readStat(this.#pid)(START_STACK);
  }

  #withMemory<T>(use: (memory: ProcessMemory) => T): T {
    const memory = new ProcessMemory(this.#pid);
    try {
      return use(memory);
    } finally {
      memory.close();
    }
  }
}
