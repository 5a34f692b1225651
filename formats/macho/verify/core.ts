/**
 * Rules about MH_CORE files: what a debugger needs to find memory and threads. xnu-11417, bsd/kern/mach_process.c
 * and osfmk/kdp/processor_core.c; LLVM 19, lldb's ObjectFileMachO.cpp.
 *
 * @module
 */
import type { Finding } from '../../finding.ts';
import { readCore } from '../core.ts';
import { error, type Rule, type Subject } from './rule.ts';

/** readCore() says what of threads, notes and memory is malformed. */
function* contents({ file }: Subject): Iterable<Finding> {
  const { threads, memory } = readCore(file);
  if (threads.length === 0)
    yield error('MACHO_CORE_THREADS', 'the core has no LC_THREAD, expected one a thread');
  if (memory.length === 0) yield error('MACHO_CORE_MEMORY', 'the core has no segments, expected memory');
}

export const CORE_RULES: readonly Rule[] = [contents];
