/**
 * Holds ELF64 files to the rules of those who load them (Linux, ld.so) and of the gABI. Each rule is a
 * function with its source in a comment; all findings are told at once.
 *
 * Sources: Linux 6.1, fs/binfmt_elf.c; glibc 2.36, elf/dl-load.c and others; gABI 4.1 and the psABIs of
 * x86-64 and AArch64; elfutils 0.188, src/elflint.c, for what tools hold a file to beyond that.
 *
 * @module
 */
import type { Finding } from '../../finding.ts';
import type { ElfFile } from '../model.ts';
import { findingsOf, isDebugFile, isLoadable, type Rule } from './rule.ts';
import { SEGMENT_RULES } from './segments.ts';

/** Everything that is wrong with a file that was read. `file.source` has to be there still. */
export function verifyElf(file: ElfFile): Finding[] {
  return rulesFor(file).flatMap(rule => findingsOf(rule, file));
}

function rulesFor(file: ElfFile): readonly Rule[] {
  if (isLoadable(file) && !isDebugFile(file)) return SEGMENT_RULES;
  return [];
}
