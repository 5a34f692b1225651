/**
 * Writing a core of a process, as a list of passes: those of a freeze, with another file at their end. What no
 * image could keep is no hindrance here; it is told when the core is frozen.
 *
 * @module
 */
import { NOTHING_LEFT } from './file-pages.ts';
import type { FreezeOptions, FreezePhase } from './freeze.ts';
import { parseFreezePoint } from './freeze-point.ts';
import { memoryForCopy } from './linux/available-memory.ts';
import { openSource } from './sources/open-source.ts';
import type { FrozenFrom, Source } from './sources/source.ts';
import { storeCore, verifyCore } from './styles/core.ts';
import { copyFirst } from './styles/resume/copy-first.ts';
import { openTarget } from './target-file.ts';

/** Of the options of a freeze, those that are about the process. */
export type CoreOptions = Pick<
  FreezeOptions,
  | 'args'
  | 'at'
  | 'env'
  | 'keepEnv'
  | 'stdio'
  | 'dropFds'
  | 'hangupSockets'
  | 'leaveRunning'
  | 'copyLimit'
  | 'cpu'
  | 'onProgress'
  | 'onPhase'
  | 'signal'
>;

export interface CoreReport {
  readonly program: string;
  /** Absolute path of the written file. */
  readonly target: string;
  readonly reached: Source['reached'];
  /** Bytes of the file, holes included. */
  readonly fileSize: number;
  /** Bytes of pages in the file. */
  readonly storedBytes: number;
  readonly regions: number;
  readonly threads: number;
  /** The process that still runs. */
  readonly pid: number | undefined;
  /** What an image of it could not keep: a freeze of the core will refuse it. */
  readonly refusals: readonly string[];
  readonly milliseconds: { readonly stopped: number; readonly total: number };
}

/** A core is no program; it holds the memory of one. */
const MODE = 0o600;

/**
 * Brings a process to its freeze point and writes a core of it.
 *
 * @param from a program to be started, or a process that runs; it goes on
 * @throws UnexecError as `freeze`
 */
export async function dumpCore(
  from: FrozenFrom,
  target: string,
  options: CoreOptions = {},
): Promise<CoreReport> {
  const startedAt = performance.now();
  const point = parseFreezePoint(options.at ?? (typeof from === 'string' ? 'auto' : 'now'));
  const say = options.onPhase ?? ((_: FreezePhase) => {});
  const file = await openTarget(target, { mode: MODE });
  let source: Source | undefined;
  try {
    source = await openSource(from, { options, point, say });
    const { image, reached, stoppedAt } = source;
    const limit = options.copyLimit ?? memoryForCopy();
    const copy = source.goesOn ? copyFirst(image, NOTHING_LEFT, limit) : undefined;
    let pid = copy && source.letGo();
    let releasedAt = performance.now();

    say('writing');
    const written = await storeCore(copy?.image ?? image, file.handle, (done, total) => {
      options.signal?.throwIfAborted();
      options.onProgress?.(done, total);
    });
    if (copy === undefined) {
      pid = source.letGo();
      releasedAt = performance.now();
    }

    say('finishing');
    verifyCore(file.temporaryPath, image);
    options.signal?.throwIfAborted();
    await file.commit();
    say('done');
    return {
      program: image.origin.program,
      target: file.path,
      reached,
      ...written,
      regions: image.regions.length,
      threads: image.threads.length,
      pid,
      refusals: image.refusals.map(({ what }) => what),
      milliseconds: { stopped: releasedAt - stoppedAt, total: performance.now() - startedAt },
    };
  } catch (error) {
    throw file.explain(error);
  } finally {
    await source?.release();
    await file.abandon();
  }
}
