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
import { ET } from '../constants.ts';
import type { ElfFile } from '../model.ts';
import { CORE_RULES } from './core.ts';
import { DYNAMIC_RULES } from './dynamic.ts';
import { HASH_RULES } from './hash-tables.ts';
import { HEADER_RULES } from './header.ts';
import { NOTE_RULES } from './notes.ts';
import { DYNAMIC_RELOCATION_RULES, OBJECT_RELOCATION_RULES } from './relocations.ts';
import { findingsOf, isDebugFile, isLoadable, type Rule, type VerifyElfOptions } from './rule.ts';
import { SECTION_TYPE_RULES } from './section-types.ts';
import { SECTION_RULES } from './sections.ts';
import { SEGMENT_RULES } from './segments.ts';
import { SPECIAL_SEGMENT_RULES } from './special-segments.ts';
import { SYMBOL_RULES } from './symbols.ts';
import { VERSION_RULES } from './versions.ts';

export { isDebugFile, isProgram, type VerifyElfOptions } from './rule.ts';

const FILE_RULES = [
  ...HEADER_RULES,
  ...SECTION_RULES,
  ...SECTION_TYPE_RULES,
  ...SYMBOL_RULES,
  ...NOTE_RULES,
] as const;

const LOADER_RULES = [
  ...SEGMENT_RULES,
  ...SPECIAL_SEGMENT_RULES,
  ...DYNAMIC_RULES,
  ...DYNAMIC_RELOCATION_RULES,
  ...HASH_RULES,
  ...VERSION_RULES,
] as const;

/** Everything that is wrong with a file that was read. `file.source` has to be there still. */
export function verifyElf(file: ElfFile, options: VerifyElfOptions = {}): Finding[] {
  // Several rules cannot go on where the same thing cannot be read: it is told once.
  const found = new Map<string, Finding>();
  for (const rule of rulesFor(file)) {
    for (const finding of findingsOf(rule, file, options))
      found.set(`${finding.code} ${finding.message}`, finding);
  }
  return [...found.values()];
}

function rulesFor(file: ElfFile): readonly Rule[] {
  if (isLoadable(file)) return isDebugFile(file) ? FILE_RULES : [...FILE_RULES, ...LOADER_RULES];
  if (file.header.type === ET.ET_REL) return [...FILE_RULES, ...OBJECT_RELOCATION_RULES];
  return file.header.type === ET.ET_CORE ? [...FILE_RULES, ...CORE_RULES] : FILE_RULES;
}
