/**
 * The fixups of the new file in the encoding that the old one uses: opcodes (LC_DYLD_INFO), or the starts of
 * chains (LC_DYLD_CHAINED_FIXUPS), whose words are in the segments. Imports and symbols stay as they are.
 *
 * @module
 */
import { wholeContents } from '../../../formats/contents.ts';
import {
  BIND_SYMBOL_FLAGS,
  BIND_TYPE,
  type Bind,
  type BindKind,
  DYLD_CHAINED_PTR,
  decodeBinds,
  encodeBinds,
  encodeChainedFixups,
  encodeRebases,
  findBlob,
  findSegment,
  type LinkeditKind,
  type MachOFile,
  readChainedFixups,
  segmentsOf,
  setBlob,
} from '../../../formats/macho/index.ts';
import { mergeOffsets } from '../restart/merge-offsets.ts';
import type { SegmentFixups } from './fixup-plan.ts';

/** Sets the rebase and bind opcodes of `file`, whose segments are those of the plan. */
export function setOpcodes(file: MachOFile, plan: readonly SegmentFixups[]): void {
  const slots = plan.map(({ dumped, kept }, segment) => ({ segment, offsets: mergeOffsets(dumped, kept) }));
  setBlob(file, 'rebase', encodeRebases(slots.filter(({ offsets }) => offsets.length > 0)));
  const bound = plan.map(segment => new Set(segment.bound));
  for (const [kind, stream] of STREAMS) {
    const blob = findBlob(file, kind);
    const added = kind === 'bind' ? addedBinds(plan) : [];
    if (blob === undefined && added.length === 0) continue;
    const present = decodeBinds(wholeContents(blob?.contents ?? new Uint8Array()), stream, segmentsOf(file));
    const stay = present.binds.filter(({ segment, offset }) => bound[segment]?.has(offset) ?? false);
    // What does not change is not written anew: an encoder of ours may choose other opcodes.
    if (stay.length === present.binds.length && added.length === 0) continue;
    setBlob(file, kind, encodeBinds({ ...present, binds: [...stay, ...added] }, stream));
  }
}

/** Lazy binds have offsets into their stream in the code, and their pointers are never dumped: they stay. */
const STREAMS: readonly (readonly [LinkeditKind, BindKind])[] = [
  ['bind', 'bind'],
  ['weak-bind', 'weak'],
];

const addedBinds = (plan: readonly SegmentFixups[]): Bind[] =>
  plan.flatMap(({ added }, segment) =>
    added.map(({ offset, like }) => ({
      segment,
      offset,
      type: BIND_TYPE.BIND_TYPE_POINTER,
      symbol: like.symbol,
      libOrdinal: like.libOrdinal,
      addend: 0n,
      // A symbol that may be missing may be missing here, too.
      flags: like.weak ? BIND_SYMBOL_FLAGS.BIND_SYMBOL_FLAGS_WEAK_IMPORT : 0,
    })),
  );

/**
 * Sets the chained fixups of `file`: chains of segments that were written anew, by index of the segment, in place
 * of those that the file had.
 */
export function setChains(
  file: MachOFile,
  pageStarts: ReadonlyMap<number, Uint16Array>,
  pageSize: number,
): void {
  const blob = findBlob(file, 'chained-fixups');
  if (blob === undefined) return;
  const present = readChainedFixups(wholeContents(blob.contents));
  const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
  const segments = segmentsOf(file).map(({ vmaddr }, index) => {
    const starts = pageStarts.get(index);
    if (starts === undefined) return present.segments[index];
    return starts.length === 0 ? undefined : { segmentOffset: vmaddr - base, pageSize, pageStarts: starts };
  });
  // A program without any pointer in its file may have made some.
  const pointerFormat = present.pointerFormat ?? DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64;
  setBlob(file, 'chained-fixups', encodeChainedFixups({ ...present, pointerFormat, segments }));
}
