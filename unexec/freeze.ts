/**
 * Freezing, as a list of passes. Each is a function with a file of its own; what goes from one to the
 * next is plain data.
 *
 * @module
 */
import type { CpuLevel } from './cpu-features.ts';
import { UnexecError } from './errors.ts';
import { NOTHING_LEFT } from './file-pages.ts';
import { type FreezePoint, parseFreezePoint } from './freeze-point.ts';
import type { Assumption, CpuRestriction, ProcessImage } from './image.ts';
import { memoryForCopy } from './linux/available-memory.ts';
import { normalStart } from './normal-start.ts';
import { freezeTime, reproducibleImage } from './reproducible.ts';
import type { Step } from './restorer/steps.ts';
import { DEFAULT_PATH } from './sources/launch.ts';
import { openSource } from './sources/open-source.ts';
import type { FrozenFrom, Source } from './sources/source.ts';
import { copyFirst } from './styles/resume/copy-first.ts';
import type { KernelFeatures } from './styles/resume/plan.ts';
import { filePagesOf, finishExecutable, type Progress, storeContents } from './styles/resume.ts';
import { openTarget, type TargetFile } from './target-file.ts';
import type { TouchedPages } from './touched-pages.ts';
import { train } from './train.ts';
import { verifyImage } from './verify.ts';

/** Everything that can be said about a freeze; all optional. */
export interface FreezeOptions {
  /** Arguments of the program. */
  readonly args?: readonly string[];
  /** When to freeze, as `--at` takes it. Default: `auto`; `now` for a process that runs already. */
  readonly at?: string;
  /**
   * Environment of the program in its first life, `NAME=VALUE` each, beside a PATH of the system's
   * directories. Nothing of the caller's environment travels otherwise.
   */
  readonly env?: readonly string[];
  /** Gives the program the caller's whole environment; it will be in the image. */
  readonly keepEnv?: boolean;
  /** Our descriptors that become the program's stdin, stdout and stderr. Default: 0, 1, 2. */
  readonly stdio?: readonly [number, number, number];
  /** Descriptors that the image leaves out. */
  readonly dropFds?: readonly number[];
  /** Connected sockets are hung up in the image rather than refused. */
  readonly hangupSockets?: boolean;
  /** Working directory of the second life: the frozen one, or the caller's. Default: `frozen`; `caller` at `main`. */
  readonly cwd?: 'frozen' | 'caller';
  /** Which symbols the image keeps. Default: all. */
  readonly symbols?: 'all' | 'program' | 'none';
  /**
   * Where the image cannot go on (another CPU, a file that has changed), it starts the program normally, with one line
   * on stderr that says why.
   */
  readonly orStart?: boolean;
  /**
   * Whether the process goes on after the freeze or is killed. Default: one that we started is killed, one that ran
   * already goes on.
   */
  readonly leaveRunning?: boolean;
  /**
   * Bytes of memory that may be taken so that a process which goes on does so before the file is written. Default:
   * half of what is available.
   */
  readonly copyLimit?: number;
  /**
   * Pages that are still those of mapped files (libraries, the program, locale archives, …) are left in these. The
   * image is smaller, and resumes only while they are there and unchanged.
   */
  readonly thin?: boolean;
  /**
   * Memory is stored as LZ4 blocks, which are all decompressed at the start: the smallest file, and a start that takes
   * as long as the process is large. There is nothing to train then.
   */
  readonly compress?: boolean;
  /** The newest CPU that the program's code is to be chosen for. Default: native, the one that it is started on. */
  readonly cpu?: CpuLevel;
  /**
   * Freezing the same program again gives the same bytes, as far as that is ours: addresses, stack canaries, ids of
   * threads, times. These are then no secret.
   */
  readonly reproducible?: boolean;
  /** Kernel features not to be used at the resume; for unusual kernels and for tests. */
  readonly avoid?: readonly (keyof KernelFeatures)[];
  /** Starts the image once, as it will be used, and lays out its start for the pages that this touched. */
  readonly train?: Training;
  /** Of a core: the program, where it is not at the path that the core names. */
  readonly exe?: string;
  /** Of a core: the directory that was the root of its machine, for what the core leaves out. */
  readonly sysroot?: string;
  /** Called while contents are written: bytes read so far, and in all. */
  readonly onProgress?: Progress;
  /** Called with what is done next: `starting`, `running`, `writing`, … */
  readonly onPhase?: (phase: FreezePhase) => void;
  /** Aborts the freeze: a process that we started is killed, and the target stays as it was. */
  readonly signal?: AbortSignal;
}

/** A training run: with its arguments, and for how long at the most (default 10 s). */
export interface Training {
  readonly args: readonly string[];
  readonly env?: readonly string[];
  readonly milliseconds?: number;
}

export type FreezePhase =
  | 'starting'
  | 'running'
  | 'capturing'
  | 'writing'
  | 'finishing'
  | 'training'
  | 'done';

export interface FreezeReport {
  readonly program: string;
  /** Absolute path of the written file. */
  readonly target: string;
  /** The freeze point that was reached: of `auto`, which one; or `core`. */
  readonly reached: FreezePoint['type'] | 'core';
  /** Bytes of the file, holes included. */
  readonly fileSize: number;
  /** Bytes of pages stored: what the file takes on disk, apart from headers and symbols. */
  readonly storedBytes: number;
  /** Bytes of pages that are left in other files (`thin`). */
  readonly leftBytes: number;
  /** Bytes of address space of the process. */
  readonly memoryBytes: number;
  readonly regions: number;
  readonly threads: number;
  readonly descriptors: number;
  /** What a core does not say of the process, and what was taken instead. */
  readonly assumptions: readonly Assumption[];
  /** Where the program was started for a CPU level: which, and how. */
  readonly cpu: CpuRestriction | undefined;
  /** The process that still runs. */
  readonly pid: number | undefined;
  readonly milliseconds: {
    readonly toFreezePoint: number;
    /** The process stood still for this long. */
    readonly stopped: number;
    /** Reading and writing of the contents, part of `stopped` unless they were copied first. */
    readonly contents: number;
    readonly total: number;
  };
  /** Bytes of our memory that contents were copied into, so that the process could go on; undefined: they were not. */
  readonly copiedBytes: number | undefined;
  /** The restore program. */
  readonly steps: readonly Step[];
}

/**
 * Brings a process to its freeze point and writes an executable that goes on from there.
 *
 * @param from a program to be started (a path, or a name in PATH), or a process that runs already
 * @throws UnexecError with a stable `code`; several `reasons` at once when the process cannot be kept
 */
export async function freeze(
  from: FrozenFrom,
  target: string,
  options: FreezeOptions = {},
): Promise<FreezeReport> {
  if (options.compress === true && options.train !== undefined) {
    throw new UnexecError(
      'COMPRESSED_TRAINING',
      'a compressed image is read as a whole at its start: a training run could teach nothing',
      { hint: 'choose one of --compress and --train' },
    );
  }
  const startedAt = performance.now();
  const point = parseFreezePoint(options.at ?? (typeof from === 'string' ? 'auto' : 'now'));
  const say = options.onPhase ?? (() => {});
  const file = await openTarget(target);
  let source: Source | undefined;
  try {
    // 1. to 3. A process that stands, captured: regions and malloc zones have names. From here on only
    // `image.memory` touches it.
    source = await openSource(from, { options, point, say });
    const { reached, stoppedAt } = source;
    const image =
      options.reproducible === true
        ? await reproducibleImage(source.image, reached === 'stop', freezeTime(process.env))
        : source.image;

    // A program that has not begun yet begins where it is started, as any program.
    const usual = reached === 'main' ? 'caller' : 'frozen';
    const cwd = image.cwd === undefined ? 'caller' : (options.cwd ?? usual);

    // 4. Refuse what cannot be kept, all reasons at once.
    refuse(image, cwd);

    // A process that somebody waits for goes on as soon as its contents are copied, where there is memory for that.
    const limit = options.copyLimit ?? memoryForCopy();
    const left = options.thin === true ? filePagesOf(image) : NOTHING_LEFT;
    const copy = source.goesOn ? copyFirst(image, left, limit) : undefined;
    let pid = copy && source.letGo();
    let releasedAt = performance.now();

    // 5. to 7. Contents go to their places in the file, without zero pages; then the process may go.
    say('writing');
    const contentsAt = performance.now();
    const contents = await storeContents(
      copy?.image ?? image,
      file.handle,
      { left, compress: options.compress ?? false },
      progressOf(options),
    );
    const writtenAt = performance.now();
    if (copy === undefined) {
      pid = source.letGo();
      releasedAt = performance.now();
    }

    // The plan, and the file around the contents. Then the target is whole, or untouched.
    say('finishing');
    const plan = {
      cwd,
      symbols: options.symbols ?? 'all',
      features: features(options),
      orStart: normalStart(from, source, { ...options, cwd }),
    };
    let written = await finishExecutable(image, contents, file.handle, { ...plan, touched: [] });
    if (options.train !== undefined) {
      // The image is run once; then only what is around the contents is written anew.
      say('training');
      const touched = await trainOn(file, image, options.train, options.signal);
      written = await finishExecutable(image, contents, file.handle, { ...plan, touched });
    }

    // 8. Read it back with our own reader.
    verifyImage(file.temporaryPath, image);
    options.signal?.throwIfAborted();
    await file.commit();
    say('done');
    return {
      program: image.origin.program,
      target: file.path,
      reached,
      fileSize: written.fileSize,
      storedBytes: written.storedBytes,
      leftBytes: written.leftBytes,
      memoryBytes: written.memoryBytes,
      regions: image.regions.length,
      threads: image.threads.length,
      descriptors: image.files.reduce((sum, { descriptors }) => sum + descriptors.length, 0),
      assumptions: image.assumptions,
      cpu: image.origin.cpu.restriction,
      pid,
      milliseconds: timings({ startedAt, stoppedAt, contentsAt, writtenAt, releasedAt }),
      copiedBytes: copy?.bytes,
      steps: written.steps,
    };
  } catch (error) {
    throw file.explain(source?.explain?.(error) ?? error);
  } finally {
    await source?.release();
    await file.abandon();
  }
}

function refuse(image: ProcessImage, cwd: 'frozen' | 'caller'): void {
  const reasons = image.refusals.filter(reason => !(reason.code === 'CWD_DELETED' && cwd === 'caller'));
  if (reasons.length === 0) return;
  const noun = reasons.length === 1 ? 'reason' : 'reasons';
  throw new UnexecError(
    'CANNOT_BE_KEPT',
    `${image.origin.program} cannot be frozen as it is, for ${reasons.length} ${noun}`,
    { reasons },
  );
}

/** Contents are written for seconds: an abort ends that too. */
const progressOf =
  ({ onProgress, signal }: FreezeOptions): Progress =>
  (done, total) => {
    signal?.throwIfAborted();
    onProgress?.(done, total);
  };

const TRAINING_MILLISECONDS = 10_000;

/** A file that is open for writing cannot be executed (ETXTBSY): the handle is closed meanwhile. */
async function trainOn(
  file: TargetFile,
  image: ProcessImage,
  training: Training,
  signal: AbortSignal | undefined,
): Promise<TouchedPages[]> {
  return file.whileClosed(() =>
    train(file.temporaryPath, image, {
      args: training.args,
      env: [`PATH=${DEFAULT_PATH}`, ...(training.env ?? [])],
      milliseconds: training.milliseconds ?? TRAINING_MILLISECONDS,
      signal,
    }),
  );
}

const features = ({ avoid = [] }: FreezeOptions): KernelFeatures => ({
  vdso: !avoid.includes('vdso'),
  mmMap: !avoid.includes('mmMap'),
  rseq: !avoid.includes('rseq'),
  timerIds: !avoid.includes('timerIds'),
  unmapVdso: !avoid.includes('unmapVdso'),
});

function timings(at: {
  startedAt: number;
  stoppedAt: number;
  contentsAt: number;
  writtenAt: number;
  releasedAt: number;
}): FreezeReport['milliseconds'] {
  return {
    toFreezePoint: at.stoppedAt - at.startedAt,
    stopped: at.releasedAt - at.stoppedAt,
    contents: at.writtenAt - at.contentsAt,
    total: performance.now() - at.startedAt,
  };
}
