/**
 * A process that runs already, which somebody else has started. It goes on afterwards, unless it is to be killed;
 * whatever happens to us, it stays as it was.
 *
 * @module
 */

import type { CpuLevel } from '../cpu-features.ts';
import { UnexecError } from '../errors.ts';
import type { FreezePoint } from '../freeze-point.ts';
import type { Captured } from '../linux/capture.ts';
import { requireTraceable } from '../linux/may-trace.ts';
import { readStat } from '../linux/proc.ts';
import { seizeProcess } from '../linux/seize.ts';
import { Tracee } from '../linux/tracee.ts';
import { undoInterruption } from '../linux/undo-interruption.ts';
import { captureReached } from './capture-reached.ts';
import { runOnToFreezePoint } from './run-to-freeze-point.ts';
import type { Opening, RunningProcess, Source } from './source.ts';

/** Field of /proc/PID/stat: when the process started, which tells it from another one with its number. */
const START_TIME = 22;

/**
 * Stops a running process at once, or at its freeze point.
 *
 * @throws UnexecError as `requireTraceable`, `runOnToFreezePoint` and `capture`; `FREEZE_POINT_PASSED`
 */
export async function attachedProcess(
  { pid }: RunningProcess,
  { options, point: asked, say }: Opening,
): Promise<Source> {
  const point = pointAhead(asked);
  const goesOn = options.leaveRunning ?? true;
  requireNative(options.cpu);
  requireTraceable(pid);
  const startTime = readStat(pid)(START_TIME);
  const tracee = new Tracee(pid, options.signal);
  let captured: Captured | undefined;
  const release = async (): Promise<void> => {
    captured?.release();
    captured = undefined;
    if (tracee.threads.size === 0) return;
    tracee.ignoreAbort();
    // A thread that does not stop cannot be let go now; the kernel does that when we end.
    await tracee.stopAll(() => true).catch(() => {});
    try {
      undoInterruption(tracee);
    } catch (error) {
      // Killed meanwhile: what led here says more.
      if (!(error instanceof UnexecError && error.code === 'PROCESS_GONE')) throw error;
    } finally {
      tracee.detach();
    }
  };
  try {
    say('running');
    seizeProcess(pid, tracee);
    if (readStat(pid)(START_TIME) !== startTime) throw isAnother(pid);
    const reached = await runOnToFreezePoint(tracee, point);
    say('capturing');
    captured = captureReached(tracee, point, reached, options, true);
    return {
      image: captured.image,
      reached: reached.point,
      stoppedAt: reached.stoppedAt,
      goesOn,
      letGo: () => {
        captured?.release();
        captured = undefined;
        if (goesOn) tracee.detach();
        else tracee.kill();
        return goesOn ? pid : undefined;
      },
      release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Its code has been chosen long ago. */
function requireNative(cpu: CpuLevel = 'native'): void {
  if (cpu === 'native') return;
  throw new UnexecError('CPU_CHOSEN_ALREADY', `a process that runs cannot be started for ${cpu}`, {
    hint: 'let unexec start the program, with --cpu',
  });
}

/** Freeze points that a process which runs cannot reach, or not in the same sense. */
const PASSED: Readonly<Partial<Record<FreezePoint['type'], string>>> = {
  main: 'main has been called',
  stop: 'when it stops itself it stays stopped, and can be frozen then',
};

/** The freeze point of a process that runs; `auto` is where it is. */
function pointAhead(point: FreezePoint): FreezePoint {
  if (point.type === 'auto') return { type: 'now' };
  const why = PASSED[point.type];
  if (why === undefined) return point;
  throw new UnexecError(
    'FREEZE_POINT_PASSED',
    `a process that runs already is not frozen at ${point.type}: ${why}`,
    {
      hint: 'leave --at out, or use now, input, request, output:TEXT, symbol:NAME, time:DURATION or syscall:N',
    },
  );
}

const isAnother = (pid: number): UnexecError =>
  new UnexecError('PROCESS_GONE', `process ${pid} has ended, and another one has its number now`);
