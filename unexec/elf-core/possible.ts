/**
 * Whether a core can be of a process at all: its memory and the files that were mapped are whole pages of user space,
 * no page is of two files, and there are not more of anything than a kernel allows. A damaged core is told here, before
 * its numbers are believed. Facts: Documentation/arch/x86/x86_64/mm.rst, Documentation/arm64/memory.rst (Linux 6.1).
 *
 * @module
 */
import type { ElfCore } from '../../formats/elf/index.ts';
import { UnexecError } from '../errors.ts';
import { PAGE_BIG } from '../image.ts';

/** Nothing of user space is above it, with page tables of five levels. */
const END_OF_USER_SPACE = 1n << 56n;
export const VSYSCALL = 0xffff_ffff_ff60_0000n;
/** vm.max_map_count is 65,530 unless it is raised, and a database's makers have it raised to 262,144. */
const MOST_MAPPINGS = 1 << 19;
/** Of one process, where kernel.threads-max and memory for stacks are plenty. */
const MOST_THREADS = 1 << 16;

interface Range {
  readonly what: string;
  readonly start: bigint;
  readonly end: bigint;
}

/** @throws UnexecError `CORE_IMPOSSIBLE` */
export function requirePossible({ memory, files = [], threads }: ElfCore, path: string): void {
  const impossible = (what: string): UnexecError =>
    new UnexecError('CORE_IMPOSSIBLE', `the core ${path} is of no process: ${what}`, {
      path,
      hint: 'the file is damaged: take the core again',
    });
  for (const [count, most, what] of [
    [memory.length, MOST_MAPPINGS, 'segments'],
    [files.length, MOST_MAPPINGS, 'mapped files'],
    [threads.length, MOST_THREADS, 'threads'],
  ] as const) {
    if (count > most) throw impossible(`it has ${count} ${what}, expected at most ${most}`);
  }

  const segments = memory.map(({ address, size }) => rangeOf('a segment', address, address + BigInt(size)));
  const mapped = files.map(({ start, end }) => rangeOf('a mapped file', start, end));
  for (const range of [...segments, ...mapped]) {
    if (!isWhole(range.start) || !isWhole(range.end))
      throw impossible(`${told(range)}, expected whole pages`);
    if (range.end > END_OF_USER_SPACE && range.start !== VSYSCALL) {
      throw impossible(`${told(range)}, expected user space, which ends at ${hex(END_OF_USER_SPACE)}`);
    }
  }
  const odd = files.find(({ offset }) => !isWhole(offset) || offset > BigInt(Number.MAX_SAFE_INTEGER));
  if (odd !== undefined) {
    throw impossible(
      `${odd.path} is mapped from its offset ${hex(odd.offset)}, expected a multiple of a page`,
    );
  }
  mapped.sort((a, b) => (a.start < b.start ? -1 : 1));
  for (const [i, range] of mapped.entries()) {
    const next = mapped[i + 1];
    if (next !== undefined && range.end > next.start) {
      throw impossible(`${told(range)}, expected it to end at ${hex(next.start)}, where the next one begins`);
    }
  }
}

const rangeOf = (what: string, start: bigint, end: bigint): Range => ({ what, start, end });
const isWhole = (address: bigint): boolean => address % PAGE_BIG === 0n;
const told = ({ what, start, end }: Range): string => `${what} is from ${hex(start)} to ${hex(end)}`;
const hex = (value: bigint): string => `0x${value.toString(16)}`;
