/**
 * Rules about rebase and bind opcodes. dyld-1378, mach_o/RebaseOpcodes.cpp and BindOpcodes.cpp (valid), with
 * enforceFixupsInWritableSegments of Policy.cpp. What the decoders refuse is a finding, too.
 *
 * @module
 */
import { wholeContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { type BindKind, decodeBinds } from '../bind-opcodes.ts';
import { BIND_SPECIAL_DYLIB, VM_PROT } from '../constants.ts';
import { readDylibs } from '../image.ts';
import { findBlob } from '../linkedit.ts';
import type { LinkeditKind, SegmentCommand } from '../model.ts';
import { OPCODE_MASK } from '../opcode-stream.ts';
import { decodeRebases } from '../rebase-opcodes.ts';
import { error, few, nameOfSegment, placeOf, type Rule, type Subject } from './rule.ts';
import { EPOCH } from './sdk.ts';

/** "Allow some padding, in case rebases were somehow aligned to 16-bytes in size". */
const MOST_PADDING = 15;

/** Pointers are rebased where they can be written. */
function* rebases(subject: Subject): Iterable<Finding> {
  const { file, segments } = subject;
  const blob = findBlob(file, 'rebase');
  if (blob === undefined) return;
  for (const { segment: index } of decodeRebases(wholeContents(blob.contents), segments)) {
    const segment = segments[index];
    if (segment !== undefined) yield* unwritable(subject, segment, 'rebases pointers');
  }
}

/** forEachRebase goes on after REBASE_OPCODE_DONE, through at most 15 bytes, which are opcodes again. */
function* padding({ file }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'rebase');
  if (blob === undefined) return;
  const bytes = wholeContents(blob.contents);
  const last = bytes.findLastIndex(byte => (byte & OPCODE_MASK) !== 0);
  // What ends the last number of the stream may be any byte below 0x80: those after it are zeros.
  const zeros = bytes.length - 1 - bytes.findLastIndex(byte => byte !== 0);
  if (last < 0 || zeros <= MOST_PADDING + 1) return;
  const offset = (blob.offset ?? 0) + bytes.length - zeros;
  yield error(
    'MACHO_REBASE_PADDING',
    `the rebase opcodes end ${zeros} bytes before their end, expected at most ${MOST_PADDING + 1}`,
    {
      offset,
    },
  );
}

const STREAMS: readonly (readonly [LinkeditKind, BindKind])[] = [
  ['bind', 'bind'],
  ['weak-bind', 'weak'],
  ['lazy-bind', 'lazy'],
];

/** "has library ordinal too large", "has unknown library special ordinal", and where pointers are bound. */
function* binds(subject: Subject): Iterable<Finding> {
  const { file, segments } = subject;
  const libraries = readDylibs(file).length;
  for (const [kind, stream] of STREAMS) {
    const blob = findBlob(file, kind);
    if (blob === undefined) continue;
    const found = decodeBinds(wholeContents(blob.contents), stream, segments).binds;
    yield* few(ordinals(found, libraries, kind));
    for (const index of new Set(found.map(({ segment }) => segment))) {
      const segment = segments[index];
      if (segment !== undefined) yield* unwritable(subject, segment, `binds symbols (${kind})`);
    }
  }
}

function* ordinals(
  binds: readonly { readonly symbol: string; readonly libOrdinal: number }[],
  libraries: number,
  kind: LinkeditKind,
): Iterable<Finding> {
  for (const { symbol, libOrdinal } of binds) {
    const finding = ordinalFault(symbol, libOrdinal, libraries, kind);
    if (finding !== undefined) yield finding;
  }
}

/** A library that there is, or one of the special ones. */
export function ordinalFault(
  symbol: string,
  libOrdinal: number,
  libraries: number,
  where: string,
): Finding | undefined {
  const least = BIND_SPECIAL_DYLIB.BIND_SPECIAL_DYLIB_WEAK_LOOKUP;
  if (libOrdinal >= least && libOrdinal <= libraries) return undefined;
  return error(
    'MACHO_BIND_LIBRARY',
    `${JSON.stringify(symbol)} of ${where} comes from library ${libOrdinal}, expected ${least} to ${libraries}`,
  );
}

function* unwritable({ epoch }: Subject, segment: SegmentCommand, what: string): Iterable<Finding> {
  const isWritable = (segment.initprot & VM_PROT.VM_PROT_WRITE) !== 0;
  const isExecutable = (segment.initprot & VM_PROT.VM_PROT_EXECUTE) !== 0;
  if (epoch < EPOCH.fall2019 || (isWritable && !isExecutable)) return;
  yield error(
    'MACHO_FIXUP_SEGMENT',
    `an opcode ${what} in ${nameOfSegment(segment)} with initprot ${hex(segment.initprot)}, expected it writable and not executable`,
    placeOf(segment),
  );
}

export const OPCODE_RULES: readonly Rule[] = [rebases, padding, binds];
