/**
 * Malloc zones: stretches of memory that an allocator owns.
 *
 * @module
 */

/** Kinds of malloc zone, as the zone note stores them. */
export const ZONE_KIND = {
  /** The brk heap. */
  heap: 1,
  /** glibc's main arena beyond the brk heap (non-contiguous). */
  'main-arena': 2,
  /** One heap of a glibc thread arena. */
  'thread-arena': 3,
  /** One chunk that malloc took with mmap. */
  'mmapped-chunk': 4,
  /** A thread's stack (glibc keeps them like a zone: cached and used again). */
  'thread-stack': 5,
  /** Our own reserve (restart style). */
  reserve: 6,
} as const;
export type ZoneKind = keyof typeof ZONE_KIND;

export interface MallocZone {
  readonly kind: ZoneKind;
  readonly base: bigint;
  /** Bytes from base to the end of what the allocator may hand out. */
  readonly size: number;
  /** Bytes in use, as far as the allocator's own structures tell; undefined where they cannot. */
  readonly used: number | undefined;
}
