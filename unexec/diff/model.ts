/**
 * What `unexec diff` tells: these types are the schema of `--json`. Everything is plain JSON: addresses and words are
 * hexadecimal text, sizes are bytes, and every key is always there.
 *
 * The command puts `ok` and `exitCode` beside the keys of the report.
 *
 * @module
 */
import type { DiagnosisKind } from '../pointers/diagnose.ts';

/** `0x` and lower-case hexadecimal: addresses are beyond what JSON's numbers hold. */
export type Hex = `0x${string}`;

export interface DiffReport {
  /** Increased when a reader of an older report would misread a newer one. */
  readonly version: 1;
  readonly a: DiffSide;
  readonly b: DiffSide;
  /** No difference was found. Two files are then equal byte for byte. */
  readonly same: boolean;
  /** Sums over all regions. */
  readonly pages: PageCounts;
  /** Sums over all regions. */
  readonly words: WordCounts;
  /** By address, those of `a` first. */
  readonly regions: readonly DiffRegion[];
  /** Where the most bytes differ, the first being the most. */
  readonly symbols: readonly DiffSymbol[];
  /** Words that differ and are no pointers that moved: the first of them, see `words.unexplained`. */
  readonly unexplained: readonly DiffWord[];
  /** What the two say of themselves otherwise: process id, time, arguments, … */
  readonly fields: readonly DiffField[];
  /** Steps of the restore program that differ, by their names. Null where there is no such program. */
  readonly steps: DiffSteps | null;
  /** Of two files: what is in no region, headers and symbols say, and differs. */
  readonly parts: readonly DiffPart[];
}

export interface DiffSide {
  readonly source: 'file' | 'process';
  /** Path of the file, or the program of the process. */
  readonly path: string;
  /** Null for a file. */
  readonly pid: number | null;
  /** `image` for a frozen process, `process`, or the kind of any other file. */
  readonly kind: string;
  readonly arch: string;
  /** ISO 8601; null where nobody says. */
  readonly frozenAt: string | null;
  /** Bytes of the file; null for a process. */
  readonly size: number | null;
}

/** Pages of 4 KiB, counted from the start of their region. */
export interface PageCounts {
  /** Equal, and not zero. */
  readonly same: number;
  /** Both have contents, and not the same. */
  readonly changed: number;
  /** Zero in both, whether they are stored or not. */
  readonly zero: number;
  /** Contents in one; zero, or no page at all, in the other. */
  readonly onlyA: number;
  readonly onlyB: number;
  /** One of them leaves it in another file (`--thin`): not compared. */
  readonly left: number;
}

/** Aligned words of changed pages that differ. */
export interface WordCounts {
  /** They lead to the same place, which is elsewhere: addresses were randomised. */
  readonly moved: number;
  readonly unexplained: number;
}

export interface DiffRegion {
  readonly name: string;
  readonly kind: string;
  /** `rw-p` */
  readonly protection: string;
  /** Null where only the other one has it. */
  readonly addressA: Hex | null;
  readonly addressB: Hex | null;
  readonly sizeA: number;
  readonly sizeB: number;
  readonly pages: PageCounts;
  readonly words: WordCounts;
  /** What the unexplained words seem to be, of those that were looked at. */
  readonly kinds: Readonly<Partial<Record<DiagnosisKind, number>>>;
}

export interface DiffSymbol {
  readonly name: string;
  readonly region: string;
  /** Null where only the other one has it. */
  readonly addressA: Hex | null;
  readonly addressB: Hex | null;
  /** Bytes of words that differ on pages that both have, without pointers that moved. */
  readonly changed: number;
  /** Bytes of pointers that moved. */
  readonly moved: number;
  /** Bytes on pages that only one of them has. */
  readonly onlyA: number;
  readonly onlyB: number;
}

export interface DiffWord {
  readonly region: string;
  readonly symbol: { readonly name: string; readonly offset: number } | null;
  readonly addressA: Hex;
  readonly addressB: Hex;
  readonly valueA: Hex;
  readonly valueB: Hex;
  readonly kind: DiagnosisKind;
  /** A phrase: what it seems to be. */
  readonly text: string;
}

export interface DiffField {
  /** `threads[0].tid` */
  readonly name: string;
  /** As JSON; null where only the other one has it. */
  readonly a: string | null;
  readonly b: string | null;
}

export interface DiffSteps {
  /** Both have it, with other arguments. */
  readonly changed: readonly StepCount[];
  readonly onlyA: readonly StepCount[];
  readonly onlyB: readonly StepCount[];
}

export interface StepCount {
  /** `map [heap]` */
  readonly name: string;
  readonly count: number;
}

export interface DiffPart {
  /** `section headers`, `.symtab`, `.note.unexec`, … */
  readonly name: string;
  /** Bytes; null where only the other one has it. */
  readonly sizeA: number | null;
  readonly sizeB: number | null;
  /** Bytes that differ, those that only one has among them. */
  readonly changed: number;
}
