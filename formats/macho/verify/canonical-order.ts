/**
 * The order of __LINKEDIT that codesign(1), strip(1) and install_name_tool(1) demand of what they change.
 * cctools-1035, libstuff/checkout.c, dyld_order(): each part begins where the one before it ends, and the last
 * one is the end of the file. "file not in an order that can be processed".
 *
 * @module
 */
import { contentsSize } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { LC } from '../constants.ts';
import { findCommand } from '../find.ts';
import { LINKEDIT_KINDS, type LinkeditKind } from '../model.ts';
import { type Rule, roundUp, type Subject, strict } from './rule.ts';

/** Parts of LC_DYLD_INFO: only the first has to begin, and the last to end, where it should. */
const DYLD_INFO: readonly LinkeditKind[] = ['rebase', 'bind', 'weak-bind', 'lazy-bind', 'export'];
/** Parts before which an odd number of indirect symbols may have been rounded up to 8 bytes. */
const AFTER_INDIRECT: ReadonlySet<LinkeditKind> = new Set<LinkeditKind>([
  'toc',
  'modtab',
  'extrefsyms',
  'strings',
]);
/** Parts that cctools does not know yet: where they are is their own business, as long as the rest fits. */
const UNKNOWN: ReadonlySet<LinkeditKind> = new Set<LinkeditKind>([
  'function-variants',
  'function-variant-fixups',
]);
const SIGNATURE_ALIGN = 16;

function* order({ file, linkedit, size, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged || linkedit === undefined || findCommand(file, LC.LC_DYSYMTAB) === undefined) return;
  const places = new Map(
    file.linkedit.map(({ kind, offset = 0, contents }) => [kind, { offset, size: contentsSize(contents) }]),
  );
  let end = linkedit.fileoff;
  // dyld_info: "starts at beginning of __LINKEDIT".
  const info = DYLD_INFO.map(kind => places.get(kind)).filter(place => place !== undefined && place.size > 0);
  const [first] = info;
  if (first !== undefined) {
    if (first.offset !== end) yield misplaced('dyld info', first.offset, end);
    const last = info.at(-1) ?? first;
    end = last.offset + last.size;
  }
  let rounded = end;
  for (const kind of LINKEDIT_KINDS) {
    const place = places.get(kind);
    if (place === undefined || DYLD_INFO.includes(kind)) continue;
    // LC_CODE_SIGNATURE and linkedit_data_commands with a place of no bytes have to be in order as well.
    if (place.size === 0 && place.offset === 0) continue;
    if (place.size === 0 && !isPlacedWhenEmpty(kind)) continue;
    if (UNKNOWN.has(kind)) {
      if (place.offset === end) end += place.size;
      rounded = end;
      continue;
    }
    if (kind === 'code-signature') rounded = roundUp(rounded, SIGNATURE_ALIGN);
    const mayRound = kind === 'code-signature' || AFTER_INDIRECT.has(kind);
    const expected =
      mayRound && place.offset === rounded ? rounded : kind === 'code-signature' ? rounded : end;
    if (place.offset !== expected) yield misplaced(kind, place.offset, expected);
    end = place.offset + place.size;
    rounded = kind === 'indirect-symbols' ? roundUp(end, 8) : end;
  }
  if (end !== size && rounded !== size) {
    yield strict(
      'MACHO_LINKEDIT_END',
      `the last part of __LINKEDIT ends at ${hex(end)}, expected at the end of the file, ${hex(size)}`,
      { offset: end },
    );
  }
}

/** "the __LINKEDIT segment does not cover the end of the file". */
function* cover({ linkedit, size, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isDyldManaged || linkedit === undefined || linkedit.filesize === 0) return;
  const end = linkedit.fileoff + linkedit.filesize;
  if (end === size) return;
  yield strict(
    'MACHO_LINKEDIT_END',
    `__LINKEDIT ends at ${hex(end)}, expected at the end of the file, ${hex(size)}`,
    {
      offset: end,
    },
  );
}

export const CANONICAL_ORDER_RULES: readonly Rule[] = [order, cover];

const isPlacedWhenEmpty = (kind: LinkeditKind): boolean =>
  kind !== 'symbols' && kind !== 'strings' && !AFTER_INDIRECT.has(kind) && kind !== 'indirect-symbols';

const misplaced = (what: string, offset: number, expected: number): Finding =>
  strict(
    'MACHO_LINKEDIT_ORDER',
    `${what} begins at ${hex(offset)}, expected ${hex(expected)}, where the part before it ends`,
    {
      offset,
    },
  );
