/**
 * Steps for what the program has told the kernel about its memory, once all of it is mapped: advice, guards,
 * locks, and at the very end the seals, which forbid to change any of that.
 * Facts: madvise(2), mlock(2), proc(5) (smaps, VmFlags); Documentation/userspace-api/mseal.rst.
 *
 * @module
 */
import type { AddressRange, ProcessImage, Region } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

/** VmFlags of smaps that madvise(2) sets again. */
const ADVICE: ReadonlyMap<string, { advice: number; name: string }> = new Map([
  ['hg', { advice: 14, name: 'MADV_HUGEPAGE' }],
  ['nh', { advice: 15, name: 'MADV_NOHUGEPAGE' }],
  ['mg', { advice: 12, name: 'MADV_MERGEABLE' }],
  ['dd', { advice: 16, name: 'MADV_DONTDUMP' }],
  ['dc', { advice: 10, name: 'MADV_DONTFORK' }],
  ['wf', { advice: 18, name: 'MADV_WIPEONFORK' }],
  ['sr', { advice: 2, name: 'MADV_SEQUENTIAL' }],
  ['rr', { advice: 1, name: 'MADV_RANDOM' }],
]);
const MADV_GUARD_INSTALL = 102;
const PROT_NONE = 0;
const MLOCK_ONFAULT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;

export function adviceSteps(program: RestoreProgram, image: ProcessImage): void {
  const regions = image.regions.filter(
    ({ kind }) => kind !== 'vvar' && kind !== 'vdso' && kind !== 'vsyscall',
  );
  for (const region of regions) {
    for (const [flag, { advice, name }] of ADVICE) {
      if (!region.flags.has(flag)) continue;
      program.syscall(name, NR.madvise, [region.start, region.size, advice], { bestEffort: true });
    }
  }
  for (const guard of image.guards) guardPages(program, guard);
  for (const region of regions) if (region.flags.has('lo')) lock(program, region);
  if (image.locksNewMemory) {
    const onFault = regions.some(({ lockedOnFault }) => lockedOnFault === true) ? MCL_ONFAULT : 0;
    program.syscall('lock memory to come', NR.mlockall, [MCL_FUTURE | onFault], { bestEffort: true });
  }
  for (const region of regions) {
    if (!region.flags.has('sl')) continue;
    program.syscall('seal memory', NR.mseal, [region.start, region.size, 0], { bestEffort: true });
  }
}

/** A kernel before 6.13 knows no such guards: there they become memory without access. */
function guardPages(program: RestoreProgram, { start, size }: AddressRange): void {
  const installed = program.slot();
  program.syscall('guard pages', NR.madvise, [start, size, MADV_GUARD_INSTALL], {
    bestEffort: true,
    into: installed,
  });
  program.unless('AT_MOST', 'guards installed', [installed, LARGEST_RESULT], () => {
    program.syscall('pages without access', NR.mprotect, [start, size, PROT_NONE]);
  });
}

/** As far as RLIMIT_MEMLOCK of the caller allows it. */
function lock(program: RestoreProgram, region: Region): void {
  const name = 'lock memory';
  if (region.lockedOnFault === true) {
    program.syscall(name, NR.mlock2, [region.start, region.size, MLOCK_ONFAULT], { bestEffort: true });
  } else {
    program.syscall(name, NR.mlock, [region.start, region.size], { bestEffort: true });
  }
}
