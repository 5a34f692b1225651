/**
 * What `prepare` is told and tells, the same for all formats.
 *
 * @module
 */
import { UnexecError } from './errors.ts';

export interface PrepareOptions {
  /** Bytes of address space for the heap; rounded up to 16 KiB. They take no room in the file. */
  readonly reserve: number;
  /** Mach-O: extends the last writable segment even where the header has room for a new one. */
  readonly extend?: boolean;
  readonly signal?: AbortSignal;
}

export interface PrepareReport {
  readonly input: string;
  /** Absolute path of the written file. */
  readonly target: string;
  /** A segment of its own, or the last writable one made longer. */
  readonly mode: 'segment' | 'extend';
  /** Name of the segment that holds the reserve; in ELF, whose segments have none, of its section. */
  readonly segment: string;
  /** Where the reserve begins, before any slide. */
  readonly address: bigint;
  /** Bytes. */
  readonly reserve: number;
  readonly signed: boolean;
  /** The program has unexec's runtime, and knows its reserve now. */
  readonly runtime: boolean;
  readonly remarks: readonly string[];
}

export const alreadyPrepared = (path: string): UnexecError =>
  new UnexecError('RESERVE_EXISTS', `${path} has a reserve already`, {
    path,
    hint: 'prepare the program as the linker wrote it, with the size that it needs',
  });

/** What is worth knowing of a program without the runtime. */
export const remarksOnRuntime = (hasRuntime: boolean): string[] =>
  hasRuntime
    ? []
    : ["the program does not contain unexec's runtime (unexec/runtime), so nothing will use the reserve"];
