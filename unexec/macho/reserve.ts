/**
 * The reserve of a Mach-O program: where its `struct unexec_reserve` is, what it says, and how `prepare`
 * fills it. It is found by its magic, so a stripped program has one too.
 *
 * @module
 */
import { hex } from '../../formats/errors.ts';
import {
  contentsSize,
  type MachOFile,
  readContents,
  type SegmentCommand,
  segmentsOf,
  VM_PROT,
} from '../../formats/macho/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { findReserveMagic, RESERVE_ALIGN, RESERVE_UNIT, unexec_reserve } from '../zones/reserve.ts';

/** The reserve as the program's file describes it. Addresses are the file's: without slide. */
export interface Reserve {
  /** The segment that holds `struct unexec_reserve`, and the struct's offset in it. */
  readonly segment: SegmentCommand;
  readonly offset: number;
  /** Address of the struct. */
  readonly address: bigint;
  /** First byte of the reserve; undefined: the program has not been prepared. */
  readonly base: bigint | undefined;
  /** Bytes. */
  readonly size: number;
}

/**
 * The reserve of a program; undefined where the program has no runtime.
 *
 * @throws UnexecError `RESERVE_AMBIGUOUS` for more than one, `RESERVE_DAMAGED` for one that makes no sense
 */
export function findReserve(file: MachOFile): Reserve | undefined {
  const found = segmentsOf(file)
    .filter(({ initprot }) => (initprot & VM_PROT.VM_PROT_WRITE) !== 0)
    .flatMap(segment => structsIn(segment).map(offset => ({ segment, offset })));
  if (found.length > 1) {
    const places = found.map(({ segment, offset }) => hex(segment.vmaddr + BigInt(offset)));
    throw new UnexecError(
      'RESERVE_AMBIGUOUS',
      `the program has ${found.length} times struct unexec_reserve, at ${places.join(' and ')}, expected one`,
      { hint: "link unexec's runtime once" },
    );
  }
  const [only] = found;
  return only && describe(only.segment, only.offset);
}

function describe(segment: SegmentCommand, offset: number): Reserve {
  const address = segment.vmaddr + BigInt(offset);
  const bytes = readContents(segment.contents ?? new Uint8Array(), offset, unexec_reserve.size);
  const fields = unexec_reserve.read(viewOf(bytes), 0, true);
  const place = { segment, offset, address };
  if (fields.offset === 0n) return { ...place, base: undefined, size: 0 };
  const size = Number(fields.size);
  if (!Number.isSafeInteger(size) || size <= 0 || size % RESERVE_UNIT !== 0) {
    throw new UnexecError(
      'RESERVE_DAMAGED',
      `struct unexec_reserve at ${hex(address)} has size ${hex(fields.size)}, expected a multiple of ${hex(RESERVE_UNIT)}`,
    );
  }
  return { ...place, base: address + fields.offset, size };
}

/** Bytes looked at together; the struct may lie across the border of two. */
const CHUNK = 1 << 20;

function structsIn({ contents, vmaddr }: SegmentCommand): number[] {
  const found: number[] = [];
  const total = contents === undefined ? 0 : contentsSize(contents);
  for (let at = 0; at < total; at += CHUNK) {
    const length = Math.min(CHUNK + unexec_reserve.size - RESERVE_ALIGN, total - at);
    const chunk = readContents(contents ?? new Uint8Array(), at, length);
    for (const offset of findReserveMagic(chunk, vmaddr + BigInt(at))) found.push(at + offset);
  }
  return found;
}

/** `offset` and `size` of the struct, as bytes for the file, and where in the segment they go. */
export function reserveFields(
  reserve: Reserve,
  base: bigint,
  size: number,
): { at: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(16);
  const view = viewOf(bytes);
  view.setBigInt64(0, base - reserve.address, true);
  view.setBigUint64(8, BigInt(size), true);
  return { at: reserve.offset + unexec_reserve.offsets.offset, bytes };
}
