/**
 * A training run: the written image is started once, as it will be used, and the pages that it touched
 * by its end are told.
 *
 * @module
 */
import { closeSync, openSync } from 'node:fs';
import { UnexecError } from './errors.ts';
import type { ProcessImage } from './image.ts';
import { getEventMessage } from './linux/ptrace.ts';
import type { Tracee } from './linux/tracee.ts';
import { launch } from './sources/launch.ts';
import { readTouchedPages, type TouchedPages } from './touched-pages.ts';

export interface TrainingOptions {
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** A run that has not ended by then (a server) is looked at and killed. */
  readonly milliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs the image at `path` to its end, with stdin from /dev/null and its output on our stderr.
 *
 * @throws UnexecError `TRAINING_FAILED` when the image cannot resume, or ends by a signal
 */
export async function train(
  path: string,
  image: ProcessImage,
  options: TrainingOptions,
): Promise<TouchedPages[]> {
  const nothing = openSync('/dev/null', 'r');
  let tracee: Tracee | undefined;
  try {
    tracee = await launch(path, { ...options, keepEnv: false, stdio: [nothing, 2, 2] });
    const end = performance.now() + options.milliseconds;
    const pid = await runToEnd(tracee, path, end);
    return readTouchedPages(
      pid,
      image.regions.filter(({ kind }) => kind !== 'vvar' && kind !== 'vdso' && kind !== 'vsyscall'),
    );
  } finally {
    tracee?.kill();
    closeSync(nothing);
  }
}

/** Runs to the exit stop of the first thread, in which its memory is still there, or to the time's end. */
async function runToEnd(tracee: Tracee, path: string, end: number): Promise<number> {
  for (const tid of tracee.threads.keys()) tracee.resume(tid, 'run');
  for (;;) {
    const stop = await tracee.next(Math.max(0, end - performance.now()));
    if (stop === undefined) {
      await tracee.stopAll();
      return tracee.pid;
    }
    switch (stop.type) {
      case 'ended':
        if (stop.tid === tracee.pid) {
          throw new UnexecError('TRAINING_FAILED', `the training run of ${path} ended unseen (${stop.how})`);
        }
        break;
      case 'exiting':
        if (stop.tid === tracee.pid) {
          checkEnd(path, getEventMessage(stop.tid));
          return tracee.pid;
        }
        tracee.resume(stop.tid, 'run');
        break;
      case 'exec':
        throw new UnexecError('TRAINING_FAILED', 'the training run started another program in its place', {
          hint: 'choose arguments with which the program itself does the work',
        });
      case 'new-process':
        tracee.releaseChild(stop.child);
        tracee.resume(stop.tid, 'run');
        break;
      case 'group-stop':
        tracee.listen(stop.tid);
        break;
      default:
        tracee.resume(stop.tid, 'run', stop.type === 'signal' ? stop.signal : 0);
    }
  }
}

const CANNOT_RESUME = 125;

/** `status` as wait(2) gives it. */
function checkEnd(path: string, status: number): void {
  const signal = status & 0x7f;
  if (signal !== 0) {
    throw new UnexecError('TRAINING_FAILED', `the training run of ${path} was ended by signal ${signal}`, {
      hint: 'choose arguments with which the program runs to its end',
    });
  }
  if (status >> 8 === CANNOT_RESUME) {
    throw new UnexecError(
      'TRAINING_FAILED',
      `the training run of ${path} ended with status ${CANNOT_RESUME}`,
      {
        hint: 'this is what an image says that cannot resume: its message is on stderr',
      },
    );
  }
}
