/**
 * What a verifier has to say of a file. Unlike a `FormatError`, which ends the reading of a file that makes no
 * sense, a finding is one of many, and all are told at once.
 *
 * @module
 */

/**
 * `error`: the system refuses the file, kills what it starts, or runs something else than was meant.
 * `strict`: it runs, but breaks a rule of its format that other tools hold it to.
 */
export type Severity = 'error' | 'strict';

export interface Finding {
  /** Stable, one for each rule: `ELF_LOAD_ORDER`. */
  readonly code: string;
  readonly severity: Severity;
  /** A sentence: what, where, the value found, and what was expected. */
  readonly message: string;
  /** Where in the file, in bytes. */
  readonly offset?: number;
  /** Where in memory, as the file has it. */
  readonly address?: bigint;
}

/** Where a finding is; both, either or nothing. */
export type Place = Pick<Finding, 'offset' | 'address'>;
