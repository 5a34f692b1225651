/**
 * Symbols by name, as --scratch needs them: one view of both formats.
 *
 * @module
 */
export interface ScratchSymbol {
  readonly name: string;
  /** Of the file, without slide. */
  readonly address: bigint;
  /** Bytes; undefined: the file does not say. */
  readonly size: number | undefined;
  /** Bytes from the symbol to the end of what it lies in: more cannot be meant. */
  readonly room: number;
  /** What it is instead of a variable: `a function`, `thread-local`, …; undefined for a variable. */
  readonly notData: string | undefined;
}

export interface ScratchSymbols {
  /** False for a stripped file. */
  readonly hasTable: boolean;
  named(name: string): readonly ScratchSymbol[];
}
