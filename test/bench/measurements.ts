/**
 * What the benchmark knows at its end: plain data. `--json` writes it, with the goals.
 *
 * @module
 */
import type { Machine } from './machine.ts';
import type { Summary } from './statistics.ts';

/** The ways to come from nothing to the end of the same work. */
export const COLUMNS = ['start', 'resumed', 'trained', 'fork', 'saved', 'criu'] as const;
export type Column = (typeof COLUMNS)[number];

/** A measured time, or why there is none. */
export type Timing =
  | (Summary & {
      /** Minor page faults of a run; not known of a fork. */ readonly faults: number | undefined;
    })
  | { readonly none: string };

/** A dump of the state at the freeze point, or why there is none. */
export type DumpResult =
  | {
      /** The whole command or call. */
      readonly milliseconds: number;
      /** Bytes of the file or directory, holes included, and what it takes on disk. */
      readonly fileSize: number;
      readonly diskBytes: number;
    }
  | { readonly none: string };

export interface FreezeResult {
  readonly milliseconds: {
    /** From the freeze point to the written file, without a training run. */
    readonly total: number;
    readonly stopped: number;
    readonly contents: number;
  };
  readonly storedBytes: number;
  readonly fileSize: number;
  readonly diskBytes: number;
  /** VmHWM of the tool, in bytes. */
  readonly peakMemory: number;
}

/** Ways to write an image, beside the plain one: what it costs to be small. */
export const FORMS = ['thin', 'compressed', 'both'] as const;
export type Form = (typeof FORMS)[number];

export interface FormResult {
  readonly timing: Timing;
  /** What the file takes on disk. */
  readonly diskBytes: number;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  /** Microseconds. */
  readonly times: Readonly<Record<Column, Timing>>;
  readonly forms: Readonly<Record<Form, FormResult>>;
  readonly freeze: FreezeResult;
  readonly gcore: DumpResult;
  readonly criuDump: DumpResult;
}

export interface Measurements {
  readonly machine: Machine;
  /** An empty static executable: the floor of exec, in microseconds. */
  readonly floor: Summary;
  readonly rows: readonly Row[];
}

/** The median of a column, where there is one. */
export function medianOf(row: Row, column: Column): number | undefined {
  const timing = row.times[column];
  return 'none' in timing ? undefined : timing.median;
}
