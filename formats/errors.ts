/**
 * The one error class of `formats/`: what is wrong with a file, where, what was found and what was
 * expected. `UnexecError` (unexec/errors.ts) is its counterpart above this layer.
 *
 * @module
 */

/** Facts beside the sentence; all optional, for programs rather than people. */
export interface FormatErrorFacts {
  /** Offset in the file, in bytes, of the field that is wrong. */
  readonly offset?: number;
  /** The value found. */
  readonly value?: number | bigint | string;
}

/**
 * Malformed or unsupported file contents.
 *
 * `code` is stable (`ELF_BAD_MAGIC`, `ELF_TRUNCATED`, …) and meant for programs; `message` names the
 * format, the C field, the value and the bound, for example
 * `ELF: e_phentsize is 32 at 0x36, expected 56`.
 */
export class FormatError extends Error {
  override readonly name = 'FormatError';
  readonly code: string;
  readonly offset: number | undefined;
  readonly value: number | bigint | string | undefined;

  constructor(code: string, message: string, facts: FormatErrorFacts = {}) {
    super(message);
    this.code = code;
    this.offset = facts.offset;
    this.value = facts.value;
  }
}

/** `0x` and lower-case hexadecimal digits. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/**
 * A bigint as a number, checked: files claim 64-bit sizes and offsets, and one beyond 2^53 cannot be
 * an offset into anything that we could hold.
 *
 * @throws FormatError `OUT_OF_RANGE`
 */
export function toNumber(what: string, value: bigint): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new FormatError('OUT_OF_RANGE', `${what} is ${hex(value)}, beyond 2^53 - 1`, { value });
  }
  return Number(value);
}
