/**
 * What a comparison has found in a range: lists that grow, and their lengths.
 *
 * @module
 */
import { OffsetList } from './offset-list.ts';
import { OutwardList } from './outward-list.ts';
import type { PairedRange } from './ranges.ts';
import { leadOf } from './stretches.ts';

export interface Counts {
  /** Aligned words in what was searched, those of untouched pages too. */
  readonly words: number;
  /** Pointers into the image; of these: with something in their upper 16 bits, not at a multiple of 8, biased. */
  readonly pointers: number;
  readonly tagged: number;
  readonly unaligned: number;
  readonly biased: number;
  readonly outward: number;
  readonly still: number;
  readonly unexplained: number;
}

/** What has been found in a range so far. */
export class Found {
  readonly aligned = new OffsetList();
  readonly unaligned = new OffsetList();
  readonly outward = new OutwardList();
  readonly still = new OutwardList();
  readonly unexplained = new OffsetList();
  tagged = 0;
  biased = 0;
  /** Where the last unaligned pointer ends. */
  claimedTo = 0;

  slots(): Float64Array {
    if (this.unaligned.length === 0) return this.aligned.finish();
    const slots = new Float64Array(this.aligned.length + this.unaligned.length);
    slots.set(this.aligned.finish());
    slots.set(this.unaligned.finish(), this.aligned.length);
    return slots.sort();
  }

  counts({ start1, size, searched }: PairedRange): Counts {
    return {
      words: searched === false ? 0 : Math.ceil((leadOf(start1) + size) / 8),
      pointers: this.aligned.length + this.unaligned.length,
      tagged: this.tagged,
      unaligned: this.unaligned.length,
      biased: this.biased,
      outward: this.outward.length,
      still: this.still.length,
      unexplained: this.unexplained.length,
    };
  }
}

export function sumOf(all: readonly Counts[]): Counts {
  const sum = (field: keyof Counts): number => all.reduce((total, counts) => total + counts[field], 0);
  return {
    words: sum('words'),
    pointers: sum('pointers'),
    tagged: sum('tagged'),
    unaligned: sum('unaligned'),
    biased: sum('biased'),
    outward: sum('outward'),
    still: sum('still'),
    unexplained: sum('unexplained'),
  };
}
