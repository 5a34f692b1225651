/**
 * A shared library in a process, initialised: nobody has to write a program that opens it. The host is
 * `true` of the system, which is everywhere, needs nothing but libc, and has done nothing of its own when it
 * reaches `main`; the library is preloaded into it, and its initialiser called there.
 *
 * What could differ between two runs is fixed: the environment, and what malloc leaves in the memory that it
 * hands out: every block begins zeroed, to its last byte. The tunables (glibc's manual, "Memory Allocation
 * Tunables") do so for what functions other than malloc and realloc allocate, as far as it was asked for, and no
 * thread's cache keeps links and a random key in freed blocks.
 *
 * @module
 */
import { readlinkSync, realpathSync, statSync } from 'node:fs';
import { STT } from '../../formats/elf/index.ts';
import { UnexecError } from '../errors.ts';
import { endOf, type Module, type Region } from '../image.ts';
import { ARCHITECTURE } from '../linux/arch.ts';
import { callFunction } from '../linux/call-function.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { findModules } from '../linux/modules.ts';
import { parseSmaps, readAuxv, readProc, readProcNumbers, readStat } from '../linux/proc.ts';
import { nameRegions } from '../linux/regions.ts';
import { runFacts } from '../linux/run-facts.ts';
import type { Tracee } from '../linux/tracee.ts';
import { symbolsNamed } from '../module-symbols.ts';
import type { RunFacts } from '../pointers/diagnose.ts';
import { type Replaced, replaceAllocations } from '../zeroed-allocations/replace.ts';
import type { ZoneView } from '../zones.ts';
import { type LaunchOptions, launch } from './launch.ts';
import { runToFreezePoint } from './run-to-freeze-point.ts';

/** A process that holds the library, and stands where its initialiser has returned. */
export interface LibraryRun {
  readonly pid: number;
  /** Memory, regions and modules, and what is needed to find its blocks. */
  readonly view: LibraryView;
  readonly library: Module;
  /** What the initialiser returned in rax; undefined where none was called. */
  readonly returned: bigint | undefined;
  /** Threads that it has left behind. */
  readonly threads: number;
  /** Descriptors that it has left open, with what they lead to. */
  readonly descriptors: readonly { readonly fd: number; readonly to: string }[];
  /** Other libraries whose variables the initialiser has changed: paths. Of the C library nothing is told. */
  readonly changedModules: readonly string[];
  /** What tells what words are that differ between runs. */
  readonly facts: RunFacts;
  /** Functions that stood for others of the C library, by their addresses. */
  readonly replaced: Replaced;
  /** Kills the process. */
  release(): void;
}

export type LibraryView = Omit<ZoneView, 'modules'> & { readonly modules: readonly Module[] };

export interface LoadOptions extends Pick<LaunchOptions, 'env' | 'stdio' | 'signal'> {
  /** The function to be called; undefined: what the library's constructors have done is all. */
  readonly init: string | undefined;
  /** How long it may take. Default: 60 s. */
  readonly milliseconds?: number | undefined;
}

const HOSTS = ['/bin/true', '/usr/bin/true'];
/** The variables are set by this, behind the shell that `launch` starts: only the host gets the library. */
const SETTERS = ['/usr/bin/env', '/bin/env'];
const TUNABLES = [
  // Freed memory becomes 0xff, and what is handed out its complement.
  'glibc.malloc.perturb=255',
  'glibc.malloc.tcache_count=0',
].join(':');
const INIT_MILLISECONDS = 60_000;
const AT_ENTRY = 9;
const FIELD_START_BRK = 47;

/**
 * Loads a library and calls its initialiser.
 *
 * @throws UnexecError `NO_HOST`, `LIBRARY_NOT_FOUND`, `BAD_LIBRARY_PATH`, `LIBRARY_NOT_LOADED`, `INITIALISER_NOT_FOUND`,
 *   `CALL_CRASHED`, `CALL_ENDED`, `CALL_TIMED_OUT`, and as `launch`
 */
export async function loadLibrary(library: string, options: LoadOptions): Promise<LibraryRun> {
  const path = findLibrary(library);
  const host = existing(HOSTS, 'a program to load the library into');
  const tracee = await launch(existing(SETTERS, 'a program that sets variables'), {
    args: ['LD_BIND_NOW=1', `GLIBC_TUNABLES=${TUNABLES}`, `LD_PRELOAD=${path}`, host],
    env: options.env,
    keepEnv: false,
    stdio: options.stdio,
    signal: options.signal,
  });
  let memory: ProcessMemory | undefined;
  try {
    await runToHost(tracee, path);
    const replaced = await replaceAllocations(tracee);
    await runToFreezePoint(tracee, { type: 'main' }).catch((cause: unknown) => {
      throw notLoaded(path, cause);
    });
    const main = ARCHITECTURE.programCounter(ARCHITECTURE.getRegisters(tracee.pid));
    memory = new ProcessMemory(tracee.pid);
    const modules = readModules(tracee.pid, memory);
    const module = libraryIn(modules, path);
    const before = readVariables(tracee.pid, memory, modules, module);
    const returned =
      options.init === undefined
        ? undefined
        : await callFunction(tracee, memory, {
            ...initialiser(module, options.init),
            returnTo: main,
            milliseconds: options.milliseconds ?? INIT_MILLISECONDS,
          });
    return {
      ...standing(tracee, memory, path, returned),
      changedModules: changedModules(memory, before),
      replaced,
      facts: runFacts(tracee.pid, memory),
    };
  } catch (error) {
    memory?.close();
    tracee.kill();
    throw error;
  }
}

/**
 * The library's path without links, as LD_PRELOAD can express it.
 *
 * @throws UnexecError `LIBRARY_NOT_FOUND`, `BAD_LIBRARY_PATH`
 */
export function findLibrary(library: string): string {
  const stat = statSync(library, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) {
    throw new UnexecError('LIBRARY_NOT_FOUND', `${library}: no such library`, { path: library });
  }
  const path = realpathSync(library);
  if (!/[:\s$]/.test(path)) return path;
  throw new UnexecError(
    'BAD_LIBRARY_PATH',
    `${JSON.stringify(path)} has a blank, a colon or a $ in its path, which LD_PRELOAD cannot express`,
    { path, hint: 'copy it to a directory with a plain name' },
  );
}

function existing(paths: readonly string[], what: string): string {
  const found = paths.find(path => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
  if (found !== undefined) return found;
  throw new UnexecError('NO_HOST', `there is neither ${paths.join(' nor ')}: ${what} is needed`);
}

/** From the one that sets the variables into the host. */
async function runToHost(tracee: Tracee, path: string): Promise<void> {
  tracee.resume(tracee.pid, 'run');
  for (;;) {
    const stop = await tracee.next();
    if (stop?.type === 'exec') return;
    if (stop?.type === 'ended') throw notLoaded(path, new UnexecError('PROCESS_GONE', stop.how));
    if (stop !== undefined) tracee.resume(stop.tid, 'run', stop.type === 'signal' ? stop.signal : 0);
  }
}

function readModules(pid: number, memory: ProcessMemory): Module[] {
  const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
  return findModules(mappings, memory, readAuxv(pid).values.get(AT_ENTRY) ?? 0n);
}

function libraryIn(modules: readonly Module[], path: string): Module {
  const library = modules.find(module => module.path === path);
  if (library !== undefined) return library;
  throw notLoaded(path, undefined);
}

function notLoaded(path: string, cause: unknown): UnexecError {
  const how = cause instanceof Error ? `: ${cause.message}` : '';
  return new UnexecError('LIBRARY_NOT_LOADED', `${path} was not loaded${how}`, {
    path,
    cause,
    hint: `see what the loader says: LD_BIND_NOW=1 LD_PRELOAD=${path} /bin/true`,
  });
}

interface Variables {
  readonly path: string;
  readonly start: bigint;
  readonly bytes: Uint8Array;
}

/** malloc alone changes these whenever it is called. */
const ALWAYS_CHANGED = /\/(libc|ld-linux-x86-64|ld-musl-x86_64|libpthread)(-2\.\d+)?\.so(\.\d+)?$/;

/** Writable memory of the other libraries, as it is now. */
function readVariables(
  pid: number,
  memory: ProcessMemory,
  modules: readonly Module[],
  library: Module,
): Variables[] {
  const others = modules.filter(module => module !== library && !ALWAYS_CHANGED.test(module.path));
  const regions = nameRegions(parseSmaps(readProc(`/proc/${pid}/smaps`)), others);
  return regions.flatMap(({ kind, start, size }) => {
    const module = others.find(other => start >= other.start && start < other.end);
    if (kind !== 'module-data' || module === undefined) return [];
    return [{ path: module.path, start, bytes: memory.bytes(start, size) }];
  });
}

function changedModules(memory: ProcessMemory, before: readonly Variables[]): string[] {
  const changed = before.filter(
    ({ start, bytes }) => Buffer.compare(memory.bytes(start, bytes.length), bytes) !== 0,
  );
  return [...new Set(changed.map(({ path }) => path))];
}

function initialiser(library: Module, name: string): { readonly address: bigint; readonly name: string } {
  const found = symbolsNamed(library, [name], 'dynamic').find(symbol => symbol.name === name);
  if (found?.type === STT.STT_FUNC || found?.type === STT.STT_NOTYPE) return { address: found.address, name };
  const what = found === undefined ? 'exports no function' : 'exports no plain function';
  throw new UnexecError('INITIALISER_NOT_FOUND', `${library.path} ${what} ${name}`, {
    path: library.path,
    hint: `what it exports: nm -D --defined-only ${library.path}`,
  });
}

function standing(
  tracee: Tracee,
  memory: ProcessMemory,
  path: string,
  returned: bigint | undefined,
): Omit<LibraryRun, 'changedModules' | 'replaced' | 'facts'> {
  const { pid } = tracee;
  const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
  for (const mapping of mappings) if (mapping.populated === 0) memory.markEmpty(mapping.start);
  const modules = findModules(mappings, memory, readAuxv(pid).values.get(AT_ENTRY) ?? 0n);
  const regions = nameRegions(mappings, modules);
  const startBrk = readStat(pid)(FIELD_START_BRK);
  const threads = [...tracee.threads.keys()];
  return {
    pid,
    view: {
      regions,
      modules,
      threads: threads.map(tid => {
        const registers = ARCHITECTURE.getRegisters(tid);
        return {
          stackPointer: ARCHITECTURE.stackPointer(registers),
          threadPointer: ARCHITECTURE.threadPointer(tid, registers),
        };
      }),
      layout: { startBrk, brk: endOfHeap(regions, startBrk) },
      memory,
    },
    library: libraryIn(modules, path),
    returned,
    threads: threads.length - 1,
    descriptors: readProcNumbers(`/proc/${pid}/fd`)
      .filter(fd => fd > 2)
      .map(fd => ({ fd, to: linkOf(`/proc/${pid}/fd/${fd}`) })),
    release: () => {
      memory.close();
      tracee.kill();
    },
  };
}

function endOfHeap(regions: readonly Region[], startBrk: bigint): bigint {
  const heap = regions.filter(({ kind }) => kind === 'heap').at(-1);
  return heap === undefined ? startBrk : endOf(heap);
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return 'something that is gone';
  }
}
