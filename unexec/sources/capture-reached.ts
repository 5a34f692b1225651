/**
 * Captures a traced process that stands at its freeze point.
 *
 * @module
 */
import type { FreezeOptions } from '../freeze.ts';
import { type FreezePoint, freezePointText } from '../freeze-point.ts';
import { type Captured, capture } from '../linux/capture.ts';
import type { Tracee } from '../linux/tracee.ts';
import type { Reached } from './run-to-freeze-point.ts';

/**
 * Everything of the process but its contents.
 *
 * @param survives it is to go on even if we are killed meanwhile
 * @throws UnexecError as `capture`
 */
export function captureReached(
  tracee: Tracee,
  point: FreezePoint,
  reached: Reached,
  { dropFds = [], hangupSockets = false }: FreezeOptions,
  survives: boolean,
): Captured {
  return capture(tracee, {
    freezePoint: freezePointText(point),
    request: reached.request === undefined ? undefined : { tid: reached.tid, address: reached.request },
    atMain: reached.point === 'main',
    drop: new Set(dropFds),
    hangupSockets,
    watchedPaths: reached.watchedPaths,
    survives,
  });
}
