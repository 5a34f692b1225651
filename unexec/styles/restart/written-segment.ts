/**
 * What a report says of a segment of a dumped program.
 *
 * @module
 */

export interface WrittenSegmentReport {
  readonly name: string;
  readonly address: bigint;
  /** Bytes in memory. */
  readonly memory: number;
  /** Bytes in the file. */
  readonly file: number;
  /** Of these, bytes of pages that are not zero. */
  readonly stored: number;
}
