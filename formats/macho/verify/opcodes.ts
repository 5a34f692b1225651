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
import { readWords } from '../fixups.ts';
import { readDylibs } from '../image.ts';
import { findBlob } from '../linkedit.ts';
import type { LinkeditKind, SegmentCommand } from '../model.ts';
import { POINTER_SIZE } from '../opcode-stream.ts';
import { decodeRebaseStream } from '../rebase-opcodes.ts';
import {
  error,
  few,
  imageTest,
  nameOfSegment,
  placeIn,
  placeOf,
  type Rule,
  type Subject,
  strict,
} from './rule.ts';
import { EPOCH } from './sdk.ts';

/** "Allow some padding, in case rebases were somehow aligned to 16-bytes in size". */
const MOST_PADDING = 15;

/** Pointers are rebased where they can be written, each once, and lead into the image. */
function* rebases(subject: Subject): Iterable<Finding> {
  const { file, segments } = subject;
  const blob = findBlob(file, 'rebase');
  if (blob === undefined) return;
  const { slots } = decodeRebaseStream(wholeContents(blob.contents), segments);
  for (const { segment: index, offsets } of slots) {
    const segment = segments[index];
    if (segment === undefined) continue;
    yield* unwritable(subject, segment, 'rebases pointers');
    yield* few(sharedWords(segment, offsets));
    yield* few(targetFaults(subject, segment, offsets));
  }
}

/** forEachRebaseLocation: a word gets the slide each time that it is named, and so twice what it needs. */
function* sharedWords(segment: SegmentCommand, offsets: Float64Array): Iterable<Finding> {
  for (const [i, offset] of offsets.entries()) {
    const next = offsets[i + 1] ?? Number.POSITIVE_INFINITY;
    if (next - offset >= POINTER_SIZE) continue;
    const where = hex(segment.vmaddr + BigInt(offset));
    yield error(
      'MACHO_REBASE_TWICE',
      `the word at ${where} is rebased again ${next - offset} bytes later, expected rebased words to share no bytes`,
      placeIn(segment, offset),
    );
  }
}

function* targetFaults(
  { segments }: Subject,
  segment: SegmentCommand,
  offsets: Float64Array,
): Iterable<Finding> {
  const isInImage = imageTest(segments);
  const words = new BigUint64Array(offsets.length);
  readWords(segment.contents ?? new Uint8Array(0), offsets, words);
  for (const [i, word] of words.entries()) {
    // The top byte may be a tag, as in chained fixups: arm64 ignores it, and elsewhere programs mask it.
    const target = BigInt.asUintN(56, word);
    if (isInImage(target)) continue;
    const offset = offsets[i] ?? 0;
    yield strict(
      'MACHO_FIXUP_TARGET',
      `the pointer at ${hex(segment.vmaddr + BigInt(offset))} leads to ${hex(target)}, expected an address of a segment`,
      placeIn(segment, offset),
    );
  }
}

/** "rebase opcodes terminated early at offset %d of %d". */
function* padding({ file, segments }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'rebase');
  if (blob === undefined) return;
  const bytes = wholeContents(blob.contents);
  const { end } = decodeRebaseStream(bytes, segments);
  const behind = bytes.length - end;
  if (behind <= MOST_PADDING) return;
  yield error(
    'MACHO_REBASE_PADDING',
    `${behind} bytes follow REBASE_OPCODE_DONE, expected at most ${MOST_PADDING}`,
    { offset: (blob.offset ?? 0) + end },
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
