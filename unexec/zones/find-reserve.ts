/**
 * Finds `struct unexec_reserve` in a program's file, whatever its format, by its magic: a stripped program
 * has one too.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../../formats/contents.ts';
import { hex } from '../../formats/errors.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { findReserveMagic, RESERVE_ALIGN, RESERVE_UNIT, unexec_reserve } from './reserve.ts';

/** A segment that a program may write, as its file has it. */
export interface WritableSegment<S> {
  /** What the format calls it. */
  readonly segment: S;
  /** Of its first byte. */
  readonly address: bigint;
  /** Its bytes in the file. */
  readonly contents: Contents;
}

/** The reserve as the program's file describes it. Addresses are the file's: without slide. */
export interface FoundReserve<S> {
  /** The segment that holds `struct unexec_reserve`, and the struct's offset in it. */
  readonly segment: S;
  readonly offset: number;
  /** Address of the struct. */
  readonly address: bigint;
  /** First byte of the reserve; undefined: the program has not been prepared. */
  readonly base: bigint | undefined;
  /** Bytes. */
  readonly size: number;
}

/**
 * The reserve of a program with these segments; undefined where the program has no runtime.
 *
 * @throws UnexecError `RESERVE_AMBIGUOUS` for more than one, `RESERVE_DAMAGED` for one that makes no sense
 */
export function findReserveIn<S>(segments: readonly WritableSegment<S>[]): FoundReserve<S> | undefined {
  const found = segments.flatMap(of => structsIn(of).map(offset => ({ of, offset })));
  if (found.length > 1) {
    const places = found.map(({ of, offset }) => hex(of.address + BigInt(offset)));
    throw new UnexecError(
      'RESERVE_AMBIGUOUS',
      `the program has ${found.length} times struct unexec_reserve, at ${places.join(' and ')}, expected one`,
      { hint: "link unexec's runtime once" },
    );
  }
  const [only] = found;
  return only && describe(only.of, only.offset);
}

function describe<S>(of: WritableSegment<S>, offset: number): FoundReserve<S> {
  const address = of.address + BigInt(offset);
  const bytes = readContents(of.contents, offset, unexec_reserve.size);
  const fields = unexec_reserve.read(viewOf(bytes), 0, true);
  const place = { segment: of.segment, offset, address };
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

function structsIn<S>({ contents, address }: WritableSegment<S>): number[] {
  const found: number[] = [];
  const total = contentsSize(contents);
  for (let at = 0; at < total; at += CHUNK) {
    const length = Math.min(CHUNK + unexec_reserve.size - RESERVE_ALIGN, total - at);
    const chunk = readContents(contents, at, length);
    for (const offset of findReserveMagic(chunk, address + BigInt(at))) found.push(at + offset);
  }
  return found;
}

/** `offset` and `size` of the struct, as bytes for the file, and where in the segment they go. */
export function reserveFields(
  reserve: FoundReserve<unknown>,
  base: bigint,
  size: number,
): { at: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(16);
  const view = viewOf(bytes);
  view.setBigInt64(0, base - reserve.address, true);
  view.setBigUint64(8, BigInt(size), true);
  return { at: reserve.offset + unexec_reserve.offsets.offset, bytes };
}
