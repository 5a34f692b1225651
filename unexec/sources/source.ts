/**
 * Where a process comes from: what each kind of source gives, and all that a style knows of it.
 *
 * @module
 */
import type { FreezeOptions } from '../freeze.ts';
import type { FreezePoint } from '../freeze-point.ts';
import type { ProcessImage } from '../image.ts';

/** A process that stands, captured. */
export interface Source {
  readonly image: ProcessImage;
  /** The freeze point that was reached: of `auto`, which one. Of a core: that it is one. */
  readonly reached: FreezePoint['type'] | 'core';
  /** Since when it stands (performance.now()). */
  readonly stoppedAt: number;
  /** Somebody waits for it to go on: the sooner `letGo` is called the better. */
  readonly goesOn: boolean;
  /**
   * Contents have been read, and `image.memory` ends here: the process goes on, or is ended.
   *
   * @returns the pid of a process that goes on
   */
  letGo(): number | undefined;
  /**
   * Gives up all that is held; after `letGo` nothing is left to do. A process that we started is ended, one that
   * we found goes on.
   */
  release(): Promise<void>;
  /** An error that came up with the image, in the words of the source. */
  explain?(error: unknown): unknown;
}

/** A process that runs already. */
export interface RunningProcess {
  readonly pid: number;
}

/** What is frozen: a program to be started (a path, or a name in PATH), an ELF core, or a process. */
export type FrozenFrom = string | RunningProcess;

/** How a source says what it does. */
export interface Opening {
  readonly options: FreezeOptions;
  readonly point: FreezePoint;
  /** What is done next. */
  readonly say: (phase: 'starting' | 'running' | 'capturing') => void;
}
