/**
 * Which words of memory are pointers: `comparePointers` knows it from two runs at different addresses,
 * `scanPointers` guesses it from one. Neither knows a format or a system: memory, and ranges of it.
 *
 * Comparison is exact. A number that looks like an address does not move with the image; a pointer moves by
 * precisely as much as what it points to. It needs the program to do the same thing twice. The scan needs
 * one image only (a core), and takes every aligned word for a pointer whose value is an address of the
 * image, as a conservative garbage collector does; what makes one of them doubtful is in `pointers/scan.ts`.
 *
 * @module
 */
export {
  comparePointers,
  type PointerComparison,
  type RangeComparison,
  type UnexplainedWord,
} from './pointers/compare.ts';
export type { OutwardSlots } from './pointers/outward-list.ts';
export type { PairedModule, PairedRange, ScannedModule, ScannedRange, Skipped } from './pointers/ranges.ts';
export { type DoubtfulWord, type PointerScan, type RangeScan, scanPointers } from './pointers/scan.ts';
export {
  type ContradictedWord,
  compareThree,
  type SettledComparison,
  type ThirdRun,
} from './pointers/third-run.ts';
