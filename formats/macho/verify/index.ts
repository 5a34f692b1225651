/**
 * Holds Mach-O files to the rules of those who load them (xnu, dyld) and of the tools that work on them
 * (codesign, strip). Each rule is a function with its source in a comment; all findings are told at once.
 *
 * Sources: dyld-1378, mach_o/; xnu-11417, bsd/kern/; cctools-1035, libstuff/. None of them was run: the rules
 * are as the sources have them. dyld holds a file to more of them the newer the SDK is that it was built with.
 *
 * @module
 */
import type { Finding } from '../../finding.ts';
import type { Sha256 } from '../code-signature.ts';
import { MH } from '../constants.ts';
import type { MachOFile } from '../model.ts';
import { CANONICAL_ORDER_RULES } from './canonical-order.ts';
import { CHAINED_RULES } from './chained.ts';
import { COMMAND_RULES } from './commands.ts';
import { CORE_RULES } from './core.ts';
import { INITIALISER_RULES } from './initialisers.ts';
import { LINKEDIT_RULES } from './linkedit.ts';
import { OPCODE_RULES } from './opcodes.ts';
import { findingsOf, type Rule, subjectOf } from './rule.ts';
import { SECTION_RULES } from './sections.ts';
import { SEGMENT_PLACE_RULES } from './segment-places.ts';
import { SEGMENT_RULES } from './segments.ts';
import { SIGNATURE_RULES } from './signature.ts';
import { SYMBOL_RULES } from './symbols.ts';

const IMAGE_RULES: readonly Rule[] = [
  ...COMMAND_RULES,
  ...SEGMENT_RULES,
  ...SEGMENT_PLACE_RULES,
  ...SECTION_RULES,
  ...INITIALISER_RULES,
  ...LINKEDIT_RULES,
  ...CANONICAL_ORDER_RULES,
  ...OPCODE_RULES,
  ...CHAINED_RULES,
  ...SYMBOL_RULES,
  ...SIGNATURE_RULES,
];

/**
 * Everything that is wrong with a file that was read. `file.source` has to be there still: the file, or in a fat
 * one the slice.
 */
export function verifyMachO(file: MachOFile, sha256: Sha256): Finding[] {
  const subject = subjectOf(file, sha256);
  const rules = file.header.filetype === MH.MH_CORE ? [...COMMAND_RULES, ...CORE_RULES] : IMAGE_RULES;
  // Several rules cannot go on where the same thing cannot be read: it is told once.
  const found = new Map<string, Finding>();
  for (const rule of rules) {
    for (const finding of findingsOf(rule, subject)) found.set(`${finding.code} ${finding.message}`, finding);
  }
  return [...found.values()];
}
