/**
 * What glibc knows of its threads: where each thread's `struct pthread` is, and in it what a core does not tell: the
 * word that the kernel clears at the thread's end, its robust list, its restartable sequences; of cores without a
 * thread pointer that too. As libthread_db does it: glibc itself says where its fields are.
 *
 * Facts: nptl_db/structs.def, nptl/descr.h, sysdeps/nptl/dl-tls_init_tp.c, sysdeps/aarch64/nptl/tls.h of glibc 2.36.
 *
 * @module
 */
import type { Arch, Module, Rseq } from '../image.ts';
import { symbolsNamed } from '../module-symbols.ts';
import type { CoreReader } from './open-core.ts';

export interface GlibcThreads {
  /** The facts of a thread; undefined where its structure is not there, or is not its own. */
  of(tid: number, threadPointer: bigint | undefined): GlibcThread | undefined;
}

export interface GlibcThread {
  readonly threadPointer: bigint;
  /** `tid` in struct pthread: what set_tid_address(2) was given. */
  readonly clearTid: bigint;
  /** 0n: none. */
  readonly robustList: bigint;
  readonly rseq: Rseq | undefined;
}

/** The program break, by glibc's `__curbrk`; 0n where there is no glibc, or no break. */
export function glibcBreak(modules: readonly Module[], memory: CoreReader): bigint {
  const address = symbols(modules, ['__curbrk']).get('__curbrk');
  return address === undefined ? 0n : memory.word(address);
}

/** Names of libthread_db: `_thread_db_TYPE_FIELD` describes a field, and `_thread_db_sizeof_TYPE` a type. */
const NAMES = {
  sizeofPthread: '_thread_db_sizeof_pthread',
  tid: '_thread_db_pthread_tid',
  list: '_thread_db_pthread_list',
  used: '_thread_db_rtld_global__dl_stack_used',
  user: '_thread_db_rtld_global__dl_stack_user',
  rtldGlobal: '_rtld_global',
  staticUsed: '_dl_stack_used',
  staticUser: '_dl_stack_user',
  rseqOffset: '__rseq_offset',
  rseqSize: '__rseq_size',
} as const;

const MOST_THREADS = 1 << 16;
/** `futex_offset` of struct robust_list_head: from a mutex's list entry to its lock. */
const ROBUST_FUTEX_OFFSET = 0xffff_ffff_ffff_ffe0n;
/** What glibc registers of `struct rseq`; RSEQ_SIG of asm/rseq.h. */
const RSEQ_LENGTH = 32;
const RSEQ_SIGNATURE: Readonly<Record<Arch, number>> = { x86_64: 0x5305_3053, aarch64: 0xd428_bc00 };

/** Undefined where no module is a glibc that describes its threads. */
export function glibcThreads(
  arch: Arch,
  modules: readonly Module[],
  memory: CoreReader,
): GlibcThreads | undefined {
  const at = symbols(modules, Object.values(NAMES));
  const tidField = at.get(NAMES.tid);
  if (tidField === undefined) return undefined;
  const tidOffset = offsetOfField(memory, tidField);
  const structures = new Map(
    pthreads(at, memory).map(pthread => [memory.word32(pthread + tidOffset), pthread]),
  );
  const sizeAt = at.get(NAMES.sizeofPthread);
  const size = sizeAt === undefined ? undefined : BigInt(memory.word32(sizeAt));
  // x86-64: the thread pointer is the structure's address; aarch64: its end.
  const above = arch === 'x86_64' ? 0n : size;
  if (above === undefined) return undefined;

  return {
    of(tid, threadPointer) {
      const pthread = threadPointer === undefined ? structures.get(tid) : threadPointer - above;
      if (pthread === undefined || memory.word32(pthread + tidOffset) !== tid) return undefined;
      const clearTid = pthread + tidOffset;
      // pid_ununsed, robust_prev and robust_head follow the tid.
      const head = clearTid + 16n;
      return {
        threadPointer: pthread + above,
        clearTid,
        robustList: memory.word(head + 8n) === ROBUST_FUTEX_OFFSET ? head : 0n,
        rseq: rseqOf(arch, at, memory, pthread + above),
      };
    },
  };
}

/** Addresses of symbols, each in the first module that defines it. */
function symbols(modules: readonly Module[], names: readonly string[]): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const module of modules) {
    for (const { name, address } of symbolsNamed(module, names, 'all')) {
      if (!found.has(name)) found.set(name, address);
    }
  }
  return found;
}

/** A field's descriptor: size in bits, number of elements, offset; 32 bits each. */
const offsetOfField = (memory: CoreReader, descriptor: bigint): bigint =>
  BigInt(memory.word32(descriptor + 8n));

/** Addresses of all struct pthread, from glibc's two lists of stacks in use. */
function pthreads(at: ReadonlyMap<string, bigint>, memory: CoreReader): bigint[] {
  const listField = at.get(NAMES.list);
  if (listField === undefined) return [];
  const listOffset = offsetOfField(memory, listField);
  const found: bigint[] = [];
  for (const [descriptor, static_] of [
    [NAMES.used, NAMES.staticUsed],
    [NAMES.user, NAMES.staticUser],
  ] as const) {
    const global = at.get(NAMES.rtldGlobal);
    const field = at.get(descriptor);
    const head =
      global !== undefined && field !== undefined ? global + offsetOfField(memory, field) : at.get(static_);
    if (head === undefined) continue;
    for (let node = memory.word(head); node !== head && node !== 0n; node = memory.word(node)) {
      found.push(node - listOffset);
      if (found.length > MOST_THREADS) return found;
    }
  }
  return found;
}

/** The kernel has filled in a CPU number where it knows of the area. */
function rseqOf(
  arch: Arch,
  at: ReadonlyMap<string, bigint>,
  memory: CoreReader,
  threadPointer: bigint,
): Rseq | undefined {
  const offset = at.get(NAMES.rseqOffset);
  const size = at.get(NAMES.rseqSize);
  if (offset === undefined || size === undefined || memory.word32(size) === 0) return undefined;
  const address = BigInt.asUintN(64, threadPointer + memory.word(offset));
  const registered = (memory.word32(address + 4n) | 0) >= 0;
  return registered ? { address, length: RSEQ_LENGTH, signature: RSEQ_SIGNATURE[arch] } : undefined;
}
