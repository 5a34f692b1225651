/**
 * `prepare`: a program gets the reserve in which its zone allocator will keep the heap, so that the heap is
 * part of the program's own image, slides with it, and can be dumped.
 *
 * @module
 */

import { isElfFile } from './elf/executable.ts';
import { prepareElf } from './elf/prepare.ts';
import { UnexecError } from './errors.ts';
import { prepareMachO } from './macho/prepare.ts';
import type { PrepareOptions, PrepareReport } from './prepare-report.ts';
import { RESERVE_UNIT } from './zones/reserve.ts';

export type { PrepareOptions, PrepareReport } from './prepare-report.ts';

/** Far more than a heap needs, and less than the address space that is left for the rest. */
const LARGEST_RESERVE = 2 ** 36;

/**
 * Writes `target`, which is `input` with a reserve; both may be the same path.
 *
 * @throws UnexecError with a stable `code`; FormatError when the input is malformed
 */
export async function prepare(
  input: string,
  target: string,
  options: PrepareOptions,
): Promise<PrepareReport> {
  const size = checkedSize(options.reserve);
  return isElfFile(input)
    ? prepareElf(input, target, size, options)
    : prepareMachO(input, target, size, options);
}

function checkedSize(reserve: number): number {
  if (Number.isFinite(reserve) && reserve > 0 && reserve <= LARGEST_RESERVE) {
    return Math.max(2, Math.ceil(reserve / RESERVE_UNIT)) * RESERVE_UNIT;
  }
  throw new UnexecError(
    'BAD_RESERVE',
    `a reserve of ${reserve} bytes, expected more than 0 and at most ${LARGEST_RESERVE}`,
    { hint: 'as much as the heap may grow to, such as --reserve 256M: what is not used costs nothing' },
  );
}
