/**
 * The threads of a core, the main one first.
 *
 * @module
 */
import type { Reason } from '../errors.ts';
import { type Assumption, type Region, type Thread, threadPointer } from '../image.ts';
import { idsKeptInWait } from '../linux/lock-wait.ts';
import { findOwnedLocks } from '../word-search.ts';
import type { GlibcThreads } from './glibc-threads.ts';
import type { CoreReader, OpenElfCore } from './open-core.ts';
import { coreMachine } from './registers.ts';

export interface CoreThreads {
  readonly threads: readonly Thread[];
  readonly refusals: readonly Reason[];
  readonly assumptions: readonly Assumption[];
}

const SS_DISABLE = 2;
/** Offset of `tid` in musl's struct pthread (since 1.1.20). */
const MUSL_TID = 0x30n;

export function coreThreads(
  open: OpenElfCore,
  regions: readonly Region[],
  memory: CoreReader,
  glibcThreads: GlibcThreads | undefined,
): CoreThreads {
  const { core } = open;
  const refusals: Reason[] = [];
  const assumptions = new Map<string, Assumption>();
  const owned = findOwnedLocks(
    { regions, memory },
    core.threads.map(({ tid }) => tid),
  );
  const threads = core.threads.map((thread, i): Thread => {
    const found = coreMachine(open, thread, i === 0, memory, glibcThreads);
    refusals.push(...found.refusals);
    for (const assumption of found.assumptions) assumptions.set(assumption.what, assumption);
    const { machine, glibc } = found;
    const kept = idsKeptInWait(thread.tid, machine, memory);
    const muslTid = threadPointer({ machine }) + MUSL_TID;
    const ownTid = glibc?.clearTid ?? (memory.word32(muslTid) === thread.tid ? muslTid : undefined);
    return {
      tid: thread.tid,
      name: core.process?.name ?? '',
      machine,
      signalMask: thread.held,
      altStack: { sp: 0n, flags: SS_DISABLE, size: 0 },
      clearTid: glibc?.clearTid ?? 0n,
      robustList: glibc?.robustList ?? 0n,
      rseq: glibc?.rseq,
      tidWords: [...(ownTid === undefined ? [] : [ownTid]), ...kept.words, ...(owned.get(thread.tid) ?? [])],
      tidRegisters: kept.registers,
      pendingSignals: [],
      scheduling: {
        attributes: undefined,
        affinity: undefined,
        ioPriority: undefined,
        timerSlack: undefined,
      },
    };
  });

  const isUnknown = threads.some(({ clearTid }) => clearTid === 0n);
  if (isUnknown && threads.length > 1) refusals.push(UNKNOWN_LIBRARY);
  if (isUnknown) add({ what: 'set_tid_address(2), robust list and rseq(2)', assumed: 'none' });
  if (open.writer === 'gdb' || open.writer === 'qemu-user') add({ what: 'blocked signals', assumed: 'none' });
  if (threads.length > 1) add({ what: 'names of threads', assumed: "the process's" });
  if (core.threads.some(({ pending }) => pending !== 0n)) {
    add({ what: 'what signals that wait were sent with', assumed: 'they were not sent' });
  }
  function add(assumption: Assumption): void {
    assumptions.set(assumption.what, assumption);
  }

  const main = mainThread(open, threads);
  if (main === undefined) refusals.push(MAIN_THREAD_ENDED);
  const others = threads.filter(thread => thread !== main);
  return {
    threads: main === undefined ? threads : [main, ...others],
    refusals,
    assumptions: [...assumptions.values()],
  };
}

const UNKNOWN_LIBRARY: Reason = {
  code: 'CORE_THREADS_UNKNOWN',
  what: 'the core does not say what the kernel does at the end of a thread, and no glibc tells it',
  remedy: 'freeze the live process instead: unexec PID',
};

const MAIN_THREAD_ENDED: Reason = {
  code: 'CORE_MAIN_THREAD_ENDED',
  what: 'the main thread is not in the core',
  remedy: 'freeze the program while its main thread runs',
};

/** The kernel writes the one that died first; its id is the process's only in the main thread. */
function mainThread({ core }: OpenElfCore, threads: readonly Thread[]): Thread | undefined {
  const pid = core.process?.pid;
  const main = threads.find(({ tid }) => tid === pid);
  return main ?? (threads.length === 1 || pid === undefined ? threads[0] : undefined);
}
