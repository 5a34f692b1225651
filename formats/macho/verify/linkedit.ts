/**
 * Rules about where the parts of __LINKEDIT are, and which may be there together. dyld-1378, mach_o/Image.cpp
 * (validStructureLinkedit) with the SDK thresholds of Policy.cpp.
 *
 * @module
 */
import { contentsSize } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { fields } from '../commands.ts';
import { LC, MH } from '../constants.ts';
import { findCommand } from '../find.ts';
import type { LinkeditKind } from '../model.ts';
import { dysymtab_command, symtab_command } from '../structs.ts';
import { error, fileEndOf, type Rule, type Subject, strict } from './rule.ts';
import { EPOCH } from './sdk.ts';

/** What dyld wants at multiples of something else than 8. */
const ALIGNMENTS: ReadonlyMap<LinkeditKind, number> = new Map<LinkeditKind, number>([
  ['strings', 1],
  ['indirect-symbols', 4],
]);
/** Parts at which dyld does not look. */
const UNSEEN: ReadonlySet<LinkeditKind> = new Set<LinkeditKind>([
  'code-sign-drs',
  'linker-optimization-hint',
  'twolevel-hints',
  'toc',
  'modtab',
  'extrefsyms',
  'function-variants',
  'function-variant-fixups',
]);

/** "LINKEDIT overlap of %s and %s", "LINKEDIT content '%s' extends beyond end of segment". */
function* places({ file, linkedit, size }: Subject): Iterable<Finding> {
  if (file.header.filetype === MH.MH_CORE) return;
  // Objects have no __LINKEDIT: these parts are the end of the file.
  const isObject = linkedit === undefined;
  let last = { name: 'the start of __LINKEDIT', end: linkedit?.fileoff ?? 0 };
  const end = isObject ? size : fileEndOf(linkedit);
  for (const { kind, offset, size: length } of partsOf(file)) {
    if (offset < last.end) {
      const say = UNSEEN.has(kind) ? strict : error;
      yield say(
        'MACHO_LINKEDIT_OVERLAP',
        `${kind} begins at ${hex(offset)}, expected after ${last.name} at ${hex(last.end)}`,
        { offset },
      );
    }
    if (offset + length > end) {
      const where = isObject ? 'the file' : '__LINKEDIT';
      yield error(
        'MACHO_LINKEDIT_PAST_END',
        `${kind} ends at ${hex(offset + length)}, expected within ${where}, which ends at ${hex(end)}`,
        { offset },
      );
    }
    if (offset + length > last.end) last = { name: `the end of ${kind}`, end: offset + length };
  }
}

/** enforceLinkeditContentAlignment: SDK 10.14; enforceCodeSignatureAligned: 10.15. */
function* alignment({ file, epoch, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  for (const { kind, offset } of partsOf(file)) {
    const unit = ALIGNMENTS.get(kind) ?? 8;
    if (offset % unit === 0) continue;
    const isEnforced =
      epoch >= (kind === 'code-signature' ? EPOCH.fall2019 : EPOCH.fall2018) && !UNSEEN.has(kind);
    const say = isEnforced ? error : strict;
    yield say('MACHO_LINKEDIT_ALIGN', `${kind} begins at ${hex(offset)}, expected a multiple of ${unit}`, {
      offset,
    });
  }
}

/** "malformed mach-o contains … and …": one encoding of fixups, SDK 10.14 for the older ones. */
function* encodings({ file, epoch, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged) return;
  const has = new Set(partsOf(file).map(({ kind }) => kind));
  const hasInfo = findCommand(file, LC.LC_DYLD_INFO_ONLY) !== undefined;
  const hasChains = findCommand(file, LC.LC_DYLD_CHAINED_FIXUPS) !== undefined;
  if (hasInfo && hasChains) {
    yield error(
      'MACHO_FIXUP_ENCODING',
      'there are LC_DYLD_INFO_ONLY and LC_DYLD_CHAINED_FIXUPS, expected one of them',
    );
  }
  for (const kind of ['local-relocations', 'external-relocations'] as const) {
    if (!has.has(kind) || !(hasChains || (hasInfo && epoch >= EPOCH.fall2018))) continue;
    const command = hasChains ? 'LC_DYLD_CHAINED_FIXUPS' : 'LC_DYLD_INFO_ONLY';
    yield error('MACHO_FIXUP_ENCODING', `there are ${kind} and ${command}, expected one of them`);
  }
}

/** "indirect symbol table ilocalsym != 0" and the like: the groups of symbols follow each other. */
function* symbolGroups({ file, isDyldManaged }: Subject): Iterable<Finding> {
  const dysymtab = findCommand(file, LC.LC_DYSYMTAB);
  const symtab = findCommand(file, LC.LC_SYMTAB);
  if (!isDyldManaged || dysymtab === undefined) return;
  const { ilocalsym, nlocalsym, iextdefsym, nextdefsym, iundefsym, nundefsym } = fields(
    dysymtab,
    dysymtab_command,
  );
  const nsyms = symtab === undefined ? 0 : fields(symtab, symtab_command).nsyms;
  const groups = [
    ['ilocalsym', ilocalsym, 0],
    ['iextdefsym', iextdefsym, nlocalsym],
    ['iundefsym', iundefsym, iextdefsym + nextdefsym],
    ['nundefsym', nundefsym, nsyms - iundefsym],
  ] as const;
  for (const [field, value, expected] of groups) {
    if (value !== expected)
      yield error('MACHO_SYMBOL_GROUPS', `${field} of LC_DYSYMTAB is ${value}, expected ${expected}`);
  }
}

/** "malformed mach-o has no LINKEDIT information". */
function* present({ file, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged || partsOf(file).length > 0) return;
  yield error('MACHO_NO_LINKEDIT', '__LINKEDIT holds nothing, expected symbols at least');
}

export const LINKEDIT_RULES: readonly Rule[] = [places, alignment, encodings, symbolGroups, present];

/** Parts that have bytes, in order of the file. */
export const partsOf = (
  file: Subject['file'],
): { readonly kind: LinkeditKind; readonly offset: number; readonly size: number }[] =>
  file.linkedit
    .map(({ kind, offset = 0, contents }) => ({ kind, offset, size: contentsSize(contents) }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => a.offset - b.offset);
