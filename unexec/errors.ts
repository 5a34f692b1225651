/**
 * The error class of everything above `formats/`. It says what happened, where, and what to do; the
 * command line (cli/) turns it into lines on stderr and an exit status.
 *
 * @module
 */

/** One reason of a refusal, with its remedy. */
export interface Reason {
  /** Stable code, such as `FD_CONNECTED_SOCKET`. */
  readonly code: string;
  /** What cannot be kept, named: `descriptor 7 is a TCP connection to 127.0.0.1:80`. */
  readonly what: string;
  /** What the user can do about it: `--drop-fd 7`. */
  readonly remedy: string;
}

export interface UnexecErrorFacts {
  /** What the user can do about it, one imperative sentence or an option. */
  readonly hint?: string;
  readonly path?: string;
  readonly cause?: unknown;
  /** For refusals: every reason, not only the first. */
  readonly reasons?: readonly Reason[];
}

/** A failure or a refusal of unexec. `code` is stable and meant for programs. */
export class UnexecError extends Error {
  override readonly name = 'UnexecError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly path: string | undefined;
  readonly reasons: readonly Reason[];

  constructor(code: string, message: string, facts: UnexecErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.hint = facts.hint;
    this.path = facts.path;
    this.reasons = facts.reasons ?? [];
  }
}
