/**
 * The end of the new process: everything is unmapped but the restorer's window.
 * Facts: munmap(2), Documentation/arch/arm64/memory.rst.
 *
 * @module
 */
import type { Arch } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';
import type { Window } from './window.ts';

/**
 * Where user space can end, largest first: munmap(2) refuses what lies beyond. On x86-64 it is 4-level page
 * tables, less the guard page. On aarch64 a kernel is built for one size of addresses, in bits.
 */
const ADDRESS_ENDS: Readonly<Record<Arch, readonly bigint[]>> = {
  x86_64: [0x7fff_ffff_f000n],
  aarch64: [1n << 48n, 1n << 47n, 1n << 42n, 1n << 39n, 1n << 36n],
};

export function unmapEverything(program: RestoreProgram, { start, end }: Window): void {
  if (start > 0n) program.syscall('unmap what is below', NR.munmap, [0, start]);
  unmapTo(
    program,
    end,
    ADDRESS_ENDS[program.arch].filter(limit => limit > end),
  );
}

function unmapTo(program: RestoreProgram, from: bigint, ends: readonly bigint[]): void {
  const [end = from, ...smaller] = ends;
  const result = program.slot();
  program.syscall('unmap what is above', NR.munmap, [from, end - from], {
    into: result,
    bestEffort: smaller.length > 0,
  });
  if (smaller.length === 0) return;
  program.unless('AT_MOST', 'unmapped', [result, LARGEST_RESULT], () => unmapTo(program, from, smaller));
}
