/**
 * Rebase opcodes: where an image holds pointers into itself, which slide with it. A stream of opcodes that
 * moves a cursor through the segments. mach-o/loader.h of the macOS 14 SDK, "The following are used to encode
 * rebasing information"; the checks are those of dyld 1378, `RebaseOpcodes.cpp`.
 *
 * An image of a dumped process has millions of slots: they are columns of numbers, not objects.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { REBASE_OPCODE, REBASE_TYPE } from './constants.ts';
import { IMMEDIATE_MASK, OPCODE_MASK, OpcodeReader, OpcodeWriter, POINTER_SIZE } from './opcode-stream.ts';

/** What a stream of fixups needs to know of a segment; in the order of the load commands. */
export interface FixupSegment {
  /** Bytes in memory. */
  readonly vmsize: bigint;
  /** Bytes in the file. */
  readonly filesize: number;
}

/** The pointers of one segment. */
export interface RebaseSlots {
  /** Index among the segments of the file. */
  readonly segment: number;
  /** Bytes from the start of the segment, ascending. */
  readonly offsets: ArrayLike<number>;
}

/** Most segments that the four bits of an opcode can name. */
const MAX_SEGMENTS = 16;
/** Larger counts and steps than this have opcodes with a number of their own. */
const MAX_IMMEDIATE = 15;

/**
 * The slots that the stream rebases: one element for each segment that has some, in the order of the segments,
 * the offsets ascending whatever the order in the stream.
 *
 * @throws FormatError `MACHO_BAD_REBASE`: an opcode or type that is unknown, a slot outside of its segment, or
 *   more slots than the segments have room for in the file; `LEB128_*`
 */
export const decodeRebases = (blob: Uint8Array, segments: readonly FixupSegment[]): DecodedRebases['slots'] =>
  decodeRebaseStream(blob, segments).slots;

/** What a stream says, and where it stops saying it. */
export interface DecodedRebases {
  /** As `decodeRebases` gives them. */
  readonly slots: { segment: number; offsets: Float64Array }[];
  /** Bytes of the stream up to its end, REBASE_OPCODE_DONE included. */
  readonly end: number;
}

/** `decodeRebases`, with the end of the stream. */
export function decodeRebaseStream(blob: Uint8Array, segments: readonly FixupSegment[]): DecodedRebases {
  const reader = new OpcodeReader('the rebase opcodes', 'MACHO_BAD_REBASE', blob);
  const found = segments.map(({ vmsize }) => new SlotList(vmsize));
  // Two slots never share bytes; without a limit, ten bytes of a hostile stream would be 2^60 of them.
  const most = segments.reduce((sum, { filesize }) => sum + filesize, 0) / 4;
  let total = 0;
  let type = 0;
  let segment: SlotList | undefined;
  let offset = 0;

  const rebase = (at: number, count: number, skip: number): void => {
    if (type !== REBASE_TYPE.REBASE_TYPE_POINTER) {
      throw reader.fault(at, `rebase with type ${type}, expected REBASE_TYPE_POINTER`, type);
    }
    if (!segment) throw reader.fault(at, 'rebase without a segment, expected one to be set', at);
    total += count;
    if (total > most) {
      throw reader.fault(at, `rebase ${total} slots, expected at most ${most} in the file`, total);
    }
    const stride = skip + POINTER_SIZE;
    const last = offset + (count - 1) * stride;
    if (count > 0 && !(segment.holds(offset) && segment.holds(last))) {
      throw reader.fault(
        at,
        `rebase the slots ${offset} to ${last}, expected them within ${segment.vmsize} bytes`,
        last,
      );
    }
    segment.add(offset, count, stride);
    offset += count * stride;
  };

  for (let done = false; !done && !reader.atEnd; ) {
    const at = reader.at;
    const byte = reader.byte();
    const immediate = byte & IMMEDIATE_MASK;
    switch (byte & OPCODE_MASK) {
      case REBASE_OPCODE.REBASE_OPCODE_DONE:
        done = true;
        break;
      case REBASE_OPCODE.REBASE_OPCODE_SET_TYPE_IMM:
        type = immediate;
        break;
      case REBASE_OPCODE.REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB:
        segment = found[immediate];
        if (!segment) {
          throw reader.fault(
            at,
            `name segment ${immediate}, expected less than ${segments.length}`,
            immediate,
          );
        }
        offset = reader.uleb();
        break;
      case REBASE_OPCODE.REBASE_OPCODE_ADD_ADDR_ULEB:
        offset += reader.delta();
        break;
      case REBASE_OPCODE.REBASE_OPCODE_ADD_ADDR_IMM_SCALED:
        offset += immediate * POINTER_SIZE;
        break;
      case REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_IMM_TIMES:
        rebase(at, immediate, 0);
        break;
      case REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ULEB_TIMES:
        rebase(at, reader.uleb(), 0);
        break;
      case REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB:
        rebase(at, 1, reader.delta());
        break;
      case REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB: {
        const count = reader.uleb();
        rebase(at, count, reader.delta());
        break;
      }
      default:
        throw reader.fault(at, `have the opcode ${hex(byte)}, expected one of REBASE_OPCODE_*`, byte);
    }
  }
  const slots = found.flatMap((list, index) =>
    list.count > 0 ? [{ segment: index, offsets: list.ascending() }] : [],
  );
  return { slots, end: reader.at };
}

/**
 * The shortest stream that we can think of: slots in a row, or at equal distances, are one opcode. No bytes for
 * no slots. Padded to 8 bytes: dyld tolerates 15 after the end.
 *
 * @throws FormatError `MACHO_BAD_REBASE` for slots that do not ascend by 8 bytes and more, or a segment beyond 15
 */
export function encodeRebases(slots: readonly RebaseSlots[]): Uint8Array {
  const writer = new OpcodeWriter();
  for (const { segment, offsets } of slots) {
    if (offsets.length === 0) continue;
    if (segment < 0 || segment >= MAX_SEGMENTS) {
      throw unencodable(`segment ${segment}, expected less than ${MAX_SEGMENTS}`, segment);
    }
    if (writer.size === 0)
      writer.byte(REBASE_OPCODE.REBASE_OPCODE_SET_TYPE_IMM | REBASE_TYPE.REBASE_TYPE_POINTER);
    encodeSegment(writer, segment, offsets);
  }
  if (writer.size > 0) writer.byte(REBASE_OPCODE.REBASE_OPCODE_DONE);
  return writer.finish(POINTER_SIZE);
}

/** Each slot with the gap that follows it: equal gaps are a run, and a run one or two opcodes. */
function encodeSegment(writer: OpcodeWriter, segment: number, offsets: ArrayLike<number>): void {
  const count = offsets.length;
  writer.opcode(REBASE_OPCODE.REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB | segment, offsets[0] ?? 0);
  for (let i = 0; i < count; ) {
    const gap = gapAfter(offsets, i);
    let run = 1;
    while (i + run < count && gapAfter(offsets, i + run) === gap) run++;
    i += run;
    if (gap > 0) {
      if (run === 1) writer.opcode(REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB, gap);
      else {
        writer.opcode(REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB, run);
        writer.uleb(gap);
      }
      continue;
    }
    // The slot after a row is one of it, unless it begins a run of its own.
    const joins = i < count && (i + 1 === count || gapAfter(offsets, i + 1) !== gapAfter(offsets, i));
    encodeRow(writer, joins ? run + 1 : run);
    if (!joins) continue;
    encodeStep(writer, gapAfter(offsets, i));
    i++;
  }
}

/** Bytes between slot `i` and the next; 0 after the last. */
function gapAfter(offsets: ArrayLike<number>, i: number): number {
  const offset = offsets[i] ?? 0;
  const gap = (offsets[i + 1] ?? offset + POINTER_SIZE) - offset - POINTER_SIZE;
  if (gap >= 0) return gap;
  throw unencodable(
    `slots at ${hex(offset)} and ${hex(offsets[i + 1] ?? 0)}, expected them ascending, ${POINTER_SIZE} bytes apart`,
    offset,
  );
}

/** Rebases `count` slots in a row. */
function encodeRow(writer: OpcodeWriter, count: number): void {
  if (count <= MAX_IMMEDIATE) writer.byte(REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_IMM_TIMES | count);
  else writer.opcode(REBASE_OPCODE.REBASE_OPCODE_DO_REBASE_ULEB_TIMES, count);
}

function encodeStep(writer: OpcodeWriter, bytes: number): void {
  const words = bytes / POINTER_SIZE;
  if (bytes === 0) return;
  if (Number.isInteger(words) && words <= MAX_IMMEDIATE) {
    writer.byte(REBASE_OPCODE.REBASE_OPCODE_ADD_ADDR_IMM_SCALED | words);
  } else writer.opcode(REBASE_OPCODE.REBASE_OPCODE_ADD_ADDR_ULEB, bytes);
}

const unencodable = (what: string, value: number): FormatError =>
  new FormatError('MACHO_BAD_REBASE', `Mach-O: rebase opcodes cannot name ${what}`, { value });

/** The slots found in one segment, in a column that grows. */
class SlotList {
  readonly vmsize: bigint;
  count = 0;
  #offsets = new Float64Array(16);
  /** The last offset at which a slot fits. */
  readonly #last: number;

  constructor(vmsize: bigint) {
    this.vmsize = vmsize;
    this.#last = Number(vmsize) - POINTER_SIZE;
  }

  holds(offset: number): boolean {
    return offset >= 0 && offset <= this.#last;
  }

  add(offset: number, count: number, stride: number): void {
    if (this.count + count > this.#offsets.length) {
      const grown = new Float64Array(2 * (this.count + count));
      grown.set(this.#offsets.subarray(0, this.count));
      this.#offsets = grown;
    }
    for (let i = 0; i < count; i++) this.#offsets[this.count++] = offset + i * stride;
  }

  ascending(): Float64Array {
    const offsets = this.#offsets.slice(0, this.count);
    for (let i = 1; i < offsets.length; i++) {
      if ((offsets[i] ?? 0) < (offsets[i - 1] ?? 0)) return offsets.sort();
    }
    return offsets;
  }
}
