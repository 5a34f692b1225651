/**
 * The end of the new process: everything is unmapped but the restorer's window.
 * Facts: munmap(2), mseal(2), Documentation/arch/arm64/memory.rst, Documentation/userspace-api/mseal.rst
 * (CONFIG_MSEAL_SYSTEM_MAPPINGS of Linux 6.16).
 *
 * @module
 */
import { type Arch, PAGE } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot, type StepArgument } from '../../restorer/steps.ts';
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
const AT_SYSINFO_EHDR = 33;
/** The data of a vdso comes before its code, at most 8 pages (Linux 6.18: 6 and 2); there is room here for more. */
const AROUND_VDSO = 16;

/**
 * Unmaps what is outside of the window. A kernel that seals the vdso keeps it, and refuses a range with it: then
 * only what is around it goes, and what is mapped beside it later takes its place page by page.
 *
 * @param canUnmapVdso false: as on a kernel that keeps it
 * @returns the address of the vdso that stays, or 0
 */
export function unmapEverything(program: RestoreProgram, { start, end }: Window, canUnmapVdso = true): Slot {
  const stays = program.slot();
  const result = program.slot();
  const ends = ADDRESS_ENDS[program.arch].filter(limit => limit > end);
  program.operation('SET', 'no vdso stays', [0, 0, 0], { into: stays });
  program.operation('SET', 'nothing is unmapped yet', [0, 0, 1], { into: result });
  if (start > 0n) program.syscall('unmap what is below', NR.munmap, [0, start]);
  if (canUnmapVdso) unmapTo(program, end, ends, result);
  program.unless('AT_MOST', 'unmapped', [result, LARGEST_RESULT], () => {
    program.operation('AUXV', 'find the vdso', [AT_SYSINFO_EHDR], { into: stays });
    unmapAround(program, stays, end, ends, canUnmapVdso);
  });
  return stays;
}

/** To the first of these ends that the kernel takes; `result` is an error where there is none. */
function unmapTo(
  program: RestoreProgram,
  from: StepArgument,
  [end, ...smaller]: readonly bigint[],
  result: Slot,
): void {
  if (end === undefined) return;
  const size = program.slot();
  program.operation('SET', 'size of what is above', [end, 0, from], { into: size });
  program.syscall('unmap what is above', NR.munmap, [from, size], { into: result, bestEffort: true });
  if (smaller.length === 0) return;
  program.unless('AT_MOST', 'unmapped', [result, LARGEST_RESULT], () =>
    unmapTo(program, from, smaller, result),
  );
}

function unmapAround(
  program: RestoreProgram,
  vdso: Slot,
  from: bigint,
  ends: readonly bigint[],
  byPage: boolean,
): void {
  const [before, size, after, result] = [program.slot(), program.slot(), program.slot(), program.slot()];
  const distance = AROUND_VDSO * PAGE;
  program.operation('SET', 'before the vdso', [vdso, 0, distance], { into: before });
  program.operation('SET', 'size of what is before', [before, 0, from], { into: size });
  program.syscall('unmap what is before the vdso', NR.munmap, [from, size]);
  if (byPage) {
    const page = program.slot();
    program.operation('SET', 'first page beside the vdso', [before, 0, 0], { into: page });
    for (let i = 0; i < 2 * AROUND_VDSO; i++) {
      program.syscall('unmap a page beside the vdso', NR.munmap, [page, PAGE], { bestEffort: true });
      program.operation('SET', 'next page', [page, PAGE, 0], { into: page });
    }
  }
  program.operation('SET', 'behind the vdso', [vdso, distance, 0], { into: after });
  unmapTo(program, after, ends, result);
  program.unless('AT_MOST', 'unmapped', [result, LARGEST_RESULT], () =>
    program.operation('FAIL', 'what is behind the vdso cannot be unmapped', [result]),
  );
}
