/**
 * Freezing a shared library, as a list of passes: it is loaded and initialised twice, at different addresses, and
 * what both have in common becomes a library that needs no initialiser.
 *
 * @module
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readElf } from '../formats/elf/index.ts';
import { UnexecError } from './errors.ts';
import { FileSource } from './file-source.ts';
import type { FreezeOptions } from './freeze.ts';
import { rememberTerminal } from './linux/caller-terminal.ts';
import { launchOptions } from './sources/launch-options.ts';
import { findLibrary, type LibraryRun, loadLibrary } from './sources/load-library.ts';
import { readLibrary } from './styles/shared-elf/library-file.ts';
import { type SharedWritten, writeShared } from './styles/shared-elf.ts';
import { openTarget } from './target-file.ts';
import { verifyWritten } from './verify-written.ts';

export interface SharedOptions extends Pick<FreezeOptions, 'env' | 'stdio' | 'signal'> {
  /** The exported function that initialises the library. Default: its constructors do. */
  readonly init?: string;
  /** Variables that differ between runs and may be zeroed: `SYMBOL`, `SYMBOL+OFFSET:SIZE`. */
  readonly scratch?: readonly string[];
  /**
   * Clears the upper bytes of words in which a smaller number was stored over a pointer, which differ between
   * runs. Default: they are refused.
   */
  readonly clearRemains?: boolean;
  /** Relative relocations: compact ones (DT_RELR) where the C library takes them (default), or never. */
  readonly relocations?: 'relr' | 'rela';
  /** How long the initialiser may take, milliseconds. Default: 60,000. */
  readonly timeout?: number;
}

export interface SharedReport extends SharedWritten {
  /** The library that was frozen. */
  readonly library: string;
  /** Absolute path of the written file. */
  readonly target: string;
  readonly arch: 'x86_64';
  readonly init: string | undefined;
  readonly remarks: readonly string[];
}

/** Address randomisation picks among millions of places: the same one twice in a row means that it is off. */
const TRIES = 4;

/**
 * Writes `target`: the library, initialised.
 *
 * @throws UnexecError with a stable `code`, several `reasons` at once when the library cannot be kept; FormatError
 *   for malformed files
 */
export async function freezeLibrary(
  library: string,
  target: string,
  options: SharedOptions = {},
): Promise<SharedReport> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new UnexecError(
      'UNSUPPORTED_MACHINE',
      `libraries cannot be frozen on ${process.platform} on ${process.arch}, only on linux on x64`,
    );
  }
  const output = await openTarget(target, { mode: 0o755 });
  const restoreTerminal = rememberTerminal(options.stdio ?? [0, 1, 2]);
  const runs: LibraryRun[] = [];
  let source: FileSource | undefined;
  try {
    // 1. The library in two processes, initialised in both.
    const path = findLibrary(library);
    source = new FileSource(path);
    const file = readLibrary(readElf(source), path);
    const { env, stdio, signal } = launchOptions(options);
    const load = () =>
      loadLibrary(path, { init: options.init, milliseconds: options.timeout, env, stdio, signal });
    const a = await load();
    runs.push(a);
    const b = await loadElsewhere(a, load, runs, options.signal);

    // 2. What both have in common, in a new file.
    const written = await writeShared(
      {
        library: file,
        runs: { a, b },
        init: options.init,
        scratch: options.scratch ?? [],
        clearRemains: options.clearRemains ?? false,
        relocations: options.relocations,
      },
      output,
    );

    // 3. It is held to the rules of its format before it becomes the target.
    verifyWritten(output.temporaryPath, path);
    options.signal?.throwIfAborted();
    await output.commit();
    return {
      ...written,
      library: path,
      target: output.path,
      arch: 'x86_64',
      init: options.init,
      remarks: remarksOn(a, written),
    };
  } catch (error) {
    throw output.explain(error);
  } finally {
    for (const run of runs) run.release();
    source?.close();
    restoreTerminal();
    await output.abandon();
  }
}

/** Another run, in which library, libc and heap are all somewhere else. */
async function loadElsewhere(
  first: LibraryRun,
  load: () => Promise<LibraryRun>,
  runs: LibraryRun[],
  signal: AbortSignal | undefined,
): Promise<LibraryRun> {
  // What asks for the time gets another one: most programs count it in seconds.
  await sleep(1000 - (Date.now() % 1000), undefined, signal === undefined ? {} : { signal });
  for (let tries = 0; tries < TRIES; tries++) {
    const run = await load();
    runs.push(run);
    const isSame = run.view.modules.some(({ path, start }) =>
      first.view.modules.some(other => other.path === path && other.start === start),
    );
    const heap = run.view.layout.startBrk;
    if (!isSame && (heap !== first.view.layout.startBrk || heap === run.view.layout.brk)) return run;
    runs.pop()?.release();
  }
  throw new UnexecError(
    'SAME_ADDRESSES',
    `the library, the C library or the heap was at the same address ${TRIES + 1} times: a comparison cannot tell pointers from numbers`,
    { hint: 'address randomisation must be on: sysctl kernel.randomize_va_space=2, and no setarch -R' },
  );
}

function remarksOn(
  { changedModules }: LibraryRun,
  { pointers, blocks, rerouted, growsStrings }: SharedWritten,
): string[] {
  const remarks = changedModules.map(
    path => `the initialiser has changed variables of ${path}, which stay in that library and are not kept`,
  );
  if (pointers.dangling > 0) {
    const words = pointers.dangling === 1 ? 'a word' : `${pointers.dangling} words`;
    remarks.push(`${words} led to memory that had been freed: null pointers now`);
  }
  if (pointers.remains > 0) {
    remarks.push(`${pointers.remains} words held the upper bytes of pointers above smaller numbers: cleared`);
  }
  if (blocks.count > 0 && rerouted.length === 0) {
    remarks.push('the library imports nothing that frees: a block of the image must not be freed by others');
  }
  if (growsStrings) {
    remarks.push(
      'libstdc++ frees the old text of a std::string that grows, and knows no frozen one: link with -static-libstdc++ -Wl,--exclude-libs,ALL if frozen strings are changed',
    );
  }
  return remarks;
}
