/**
 * The time of a file's last change, as struct timespec has it: of one before 1970 the seconds are negative, the
 * nanoseconds are not. Facts: timespec(3type), stat(2).
 *
 * @module
 */

export interface FileTime {
  /** Since 1970. */
  readonly seconds: bigint;
  /** 0 to 999 999 999. */
  readonly nanoseconds: bigint;
}

const SECOND = 1_000_000_000n;

/** Of nanoseconds since 1970. */
export function fileTime(nanoseconds: bigint): FileTime {
  const below = ((nanoseconds % SECOND) + SECOND) % SECOND;
  return { seconds: (nanoseconds - below) / SECOND, nanoseconds: below };
}

/** Nanoseconds since 1970. */
export const nanosecondsOf = ({ seconds, nanoseconds }: FileTime): bigint => seconds * SECOND + nanoseconds;
