/**
 * A start of a program that is the same each time (`--reproducible`): without address randomisation, and with fixed
 * bytes where the kernel and libc put random ones for their own use. Stack canaries and mangled pointers come from
 * AT_RANDOM; glibc's malloc marks freed chunks with 8 bytes of getrandom(2), for which it does not wait. All other
 * randomness is the program's business.
 *
 * Facts: personality(2), getauxval(3), getrandom(2); malloc/malloc.c (tcache_key_initialize) of glibc 2.36.
 *
 * @module
 */
import { syscall } from '../linux/libc.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { readAuxv } from '../linux/proc.ts';

export const ADDR_NO_RANDOMIZE = 0x0040000;
const QUERY = 0xffff_ffff;
const AT_RANDOM = 25;
const RANDOM = Buffer.from('unexec: the same');
const KEY = Buffer.from('unexec-k');
const GRND_NONBLOCK = 1n;
/** malloc is first called when libraries are loaded or soon afterwards: calls are followed for so long. */
const MOST_CALLS = 5000;

/** glibc asks the CPU what it is, and which one of all, before its third system call. */
const CALLS_ON_ONE_CPU = 3;
const CPU_MASK_SIZE = 128;

/** Children that are made meanwhile have their addresses where they always are, and begin on the first CPU. */
export function withFixedStart<T>(start: () => T): T {
  const own = syscall('personality', QUERY);
  const cpus = new Uint8Array(CPU_MASK_SIZE);
  syscall('sched_getaffinity', 0, cpus.length, cpus);
  if (own >= 0) syscall('personality', own | ADDR_NO_RANDOMIZE);
  stayOnOneCpu(0);
  try {
    return start();
  } finally {
    if (own >= 0) syscall('personality', own);
    syscall('sched_setaffinity', 0, cpus.length, cpus);
  }
}

function stayOnOneCpu(pid: number): void {
  const cpus = new Uint8Array(CPU_MASK_SIZE);
  if (syscall('sched_getaffinity', pid, cpus.length, cpus) < 0) return;
  const at = cpus.findIndex(byte => byte !== 0);
  const byte = cpus[at] ?? 0;
  syscall('sched_setaffinity', pid, cpus.length, cpus.fill(0).fill(byte & -byte, at, at + 1));
}

/** The bytes of AT_RANDOM of a program that stands before its first instruction. */
export function fixRandomBytes(pid: number): void {
  const address = readAuxv(pid).values.get(AT_RANDOM);
  if (address === undefined) return;
  const memory = new ProcessMemory(pid);
  try {
    memory.write(address, RANDOM);
  } finally {
    memory.close();
  }
}

/** Follows a program's first system calls: gives malloc its key, and the program all CPUs. */
export class FixedStart {
  readonly #pid: number;
  readonly #cpus = new Uint8Array(CPU_MASK_SIZE);
  #calls = 0;
  #asking: { readonly tid: number; readonly address: bigint } | undefined;
  #isDone = false;

  constructor(pid: number) {
    this.#pid = pid;
    syscall('sched_getaffinity', 0, this.#cpus.length, this.#cpus);
  }

  /** Whether system calls are still to be followed. */
  get isWatched(): boolean {
    return !this.#isDone && this.#calls < MOST_CALLS;
  }

  /** It stands before the first instruction of another program, which it has executed. */
  again(): void {
    fixRandomBytes(this.#pid);
    stayOnOneCpu(this.#pid);
    this.#calls = 0;
    this.#isDone = false;
  }

  onEntry(tid: number, name: string | undefined, args: readonly bigint[]): void {
    this.#calls++;
    if (this.#calls === CALLS_ON_ONE_CPU) this.allowAllCpus();
    const [address = 0n, length, flags] = args;
    if (this.#isDone || name !== 'getrandom') return;
    if (length === BigInt(KEY.length) && flags === GRND_NONBLOCK) this.#asking = { tid, address };
  }

  onExit(tid: number, result: bigint, memory: Pick<ProcessMemory, 'write'>): void {
    if (this.#asking?.tid !== tid) return;
    if (result === BigInt(KEY.length)) {
      memory.write(this.#asking.address, KEY);
      this.#isDone = true;
    }
    this.#asking = undefined;
  }

  /** Those that we have. */
  allowAllCpus(): void {
    syscall('sched_setaffinity', this.#pid, this.#cpus.length, this.#cpus);
  }
}
