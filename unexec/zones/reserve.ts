/**
 * The reserve as programs and the tool share it: `struct unexec_reserve`, which the runtime has in its
 * initialised data and `unexec prepare` fills, and `struct unexec_zone_header`, with which a started zone
 * begins. Both are little-endian and position independent. The C side: unexec/runtime/zone.h.
 *
 * @module
 */
import { bytes, i64, struct, u32, u64, type Value, viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';

/** What `struct unexec_reserve` begins with; in a stripped program it is found by this. */
export const RESERVE_MAGIC = new TextEncoder().encode('unexec reserve 1');

/** Alignment of `struct unexec_reserve`, bytes. */
export const RESERVE_ALIGN = 16;

export const unexec_reserve = struct({
  magic: bytes(16),
  /** From the struct's own address to the first byte of the reserve; 0: none. */
  offset: i64,
  /** Bytes. */
  size: u64,
  /** Address of the constructor that runs again in every life. */
  start: u64,
  /** Where the program's own variables end, and the last of its constructors; what follows is of static libraries. */
  last_data: u64,
  last_bss: u64,
  last_start: u64,
});
export type unexec_reserve = Value<typeof unexec_reserve>;

const ZONE_MAGIC = new Uint8Array(16);
new TextEncoder().encodeInto('unexec zone 1', ZONE_MAGIC);

export const unexec_zone_header = struct({
  magic: bytes(16),
  size: u64,
  high_water: u64,
  used: u64,
  overflow: u64,
  page_size: u64,
  generation: u32,
  is_default: u32,
  /** 1 while a thread is inside the allocator. */
  busy: u32,
  unused: u32,
});
export type unexec_zone_header = Value<typeof unexec_zone_header>;

/** Whether memory that begins with these bytes is a started zone. */
export const beginsZone = (head: Uint8Array): boolean => ZONE_MAGIC.every((byte, i) => byte === head[i]);

/** Where in the reserve our notes are, bytes from its base, and how much room they have. */
export const NOTES_OFFSET = 8192;
export const NOTES_ROOM = 8192;

/** Blocks begin here; header and notes before. */
export const BLOCKS_OFFSET = NOTES_OFFSET + NOTES_ROOM;

/** A reserve is a multiple of this, whatever the page size of the machine. */
export const RESERVE_UNIT = 16384;

/** Of the machines that there are, bytes. */
const PAGE_SIZES: ReadonlySet<bigint> = new Set([0x1000n, 0x4000n, 0x1_0000n]);

/** The zone in a process that has started it. */
export interface StartedZone {
  /** Bytes of the reserve. */
  readonly size: number;
  /** Bytes from the base beyond which everything is zero. */
  readonly highWater: number;
  /** Bytes handed out. */
  readonly used: number;
  /** Unit in which the allocator counts, bytes. */
  readonly pageSize: number;
  /** 0 in a first life. */
  readonly generation: number;
  /** malloc allocates here. */
  readonly isDefault: boolean;
}

/**
 * Reads a zone's header from the first bytes of the reserve; undefined where no zone was started.
 *
 * @throws UnexecError `ZONE_DAMAGED` when it contradicts itself, `ZONE_OVERFLOW` when the reserve was too
 *   small, so that blocks lie outside of it, `ZONE_BUSY`
 */
export function readZoneHeader(head: Uint8Array, reserveSize: number): StartedZone | undefined {
  const header = unexec_zone_header.read(viewOf(head), 0, true);
  if (header.magic.every(byte => byte === 0)) return undefined;
  if (!ZONE_MAGIC.every((byte, i) => byte === header.magic[i]))
    throw damaged('magic', header.magic.join(' '));
  const { size, high_water, used, overflow, page_size } = header;
  if (size !== BigInt(reserveSize)) throw damaged('size', `${size}, expected ${reserveSize}`);
  if (high_water > size || high_water < BigInt(BLOCKS_OFFSET)) {
    throw damaged('high_water', `${high_water}, expected ${BLOCKS_OFFSET} to ${size}`);
  }
  if (header.busy !== 0) {
    throw new UnexecError('ZONE_BUSY', 'a thread stands inside the allocator of the zone', {
      hint: 'freeze at a moment at which no thread allocates: unexec_freeze(), or --at stop',
    });
  }
  if (used > size) throw damaged('used', `${used}, expected at most ${size}`);
  if (!PAGE_SIZES.has(page_size)) throw damaged('page_size', `${page_size}, expected 4096, 16384 or 65536`);
  if (overflow !== 0n) {
    throw new UnexecError(
      'ZONE_OVERFLOW',
      `${overflow} bytes are allocated outside the reserve of ${size} bytes, which is full; they would be lost`,
      { hint: 'prepare the program again with a larger --reserve' },
    );
  }
  return {
    size: reserveSize,
    highWater: Number(high_water),
    used: Number(used),
    pageSize: Number(page_size),
    generation: header.generation,
    isDefault: header.is_default !== 0,
  };
}

const damaged = (field: string, found: string): UnexecError =>
  new UnexecError('ZONE_DAMAGED', `the header of the program's zone is damaged: ${field} is ${found}`, {
    hint: 'something in the program has written over it',
  });

/** Where every `struct unexec_reserve` may begin in these bytes: offsets of its magic, aligned. */
export function findReserveMagic(contents: Uint8Array, address: bigint): number[] {
  const found: number[] = [];
  const skew = Number(-address & BigInt(RESERVE_ALIGN - 1));
  for (let at = skew; at + unexec_reserve.size <= contents.length; at += RESERVE_ALIGN) {
    // The first byte decides nearly always: this runs over megabytes.
    if (contents[at] !== RESERVE_MAGIC[0]) continue;
    if (RESERVE_MAGIC.every((byte, i) => contents[at + i] === byte)) found.push(at);
  }
  return found;
}
