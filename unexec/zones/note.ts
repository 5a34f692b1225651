/**
 * The payload of the zone note: the malloc zones of the process as an array of C structs, little-endian,
 * that C code can walk as it is.
 *
 * The format is unexec's own. `version` changes when a reader of this one would go wrong; `record_size`
 * grows when fields are appended, and readers step by it.
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../../formats/errors.ts';
import { struct, u32, u64, type Value, viewOf } from '../../formats/struct.ts';
import { type MallocZone, ZONE_KIND, type ZoneKind } from '../zones.ts';

/** `padding` keeps the records aligned to 8 bytes. */
export const unexec_zone_note = struct({ version: u32, record_size: u32, count: u32, padding: u32 });

export const unexec_zone = struct({
  /** ZONE_KIND. */
  kind: u32,
  /** ZONE_DEFAULT. */
  flags: u32,
  base: u64,
  size: u64,
  /** Bytes in use; ZONE_USED_UNKNOWN. */
  used: u64,
  high_water: u64,
  page_size: u64,
});

export const ZONE_NOTE_VERSION = 1;
/** `flags`: the zone is the default one. */
export const ZONE_DEFAULT = 1;
/** `used` where the allocator's structures do not tell. */
export const ZONE_USED_UNKNOWN = 0xffff_ffff_ffff_ffffn;

/** The payload for these zones, whatever their order: 16 bytes and 48 for each. */
export function encodeZones(zones: readonly MallocZone[]): Uint8Array {
  const payload = new Uint8Array(unexec_zone_note.size + zones.length * unexec_zone.size);
  const view = viewOf(payload);
  const header = {
    version: ZONE_NOTE_VERSION,
    record_size: unexec_zone.size,
    count: zones.length,
    padding: 0,
  };
  unexec_zone_note.write(view, 0, header, true);
  for (const [i, zone] of zones.entries()) {
    unexec_zone.write(view, unexec_zone_note.size + i * unexec_zone.size, toRecord(zone), true);
  }
  return payload;
}

/**
 * The zones of a payload.
 *
 * @throws FormatError `ZONE_NOTE_TRUNCATED`, `ZONE_NOTE_VERSION`, and `ZONE_NOTE_` with the name of any
 *   other field that is wrong; `OUT_OF_RANGE` for a size that no number holds. Offsets are the payload's.
 */
export function decodeZones(payload: Uint8Array): MallocZone[] {
  const { record_size, count } = readHeader(payload);
  const view = viewOf(payload);
  return Array.from({ length: count }, (_, i) => {
    const at = unexec_zone_note.size + i * record_size;
    return fromRecord(unexec_zone.read(view, at, true), at);
  });
}

function readHeader(payload: Uint8Array): Value<typeof unexec_zone_note> {
  const { size, offsets } = unexec_zone_note;
  if (payload.length < size) throw wrong('TRUNCATED', 'size', payload.length, 0, `at least ${size} bytes`);
  const header = unexec_zone_note.read(viewOf(payload), 0, true);
  const { version, record_size, count } = header;
  if (version !== ZONE_NOTE_VERSION) {
    throw wrong('VERSION', 'version', version, offsets.version, `${ZONE_NOTE_VERSION}`);
  }
  if (record_size < unexec_zone.size || record_size % 8 !== 0) {
    const expected = `a multiple of 8 not below ${unexec_zone.size}`;
    throw wrong('RECORD_SIZE', 'record_size', record_size, offsets.record_size, expected);
  }
  const records = payload.length - size;
  if (count * record_size !== records) {
    const expected = `as many as fill ${records} bytes with records of ${record_size}`;
    throw wrong('COUNT', 'count', count, offsets.count, expected);
  }
  return header;
}

const toRecord = (zone: MallocZone): Value<typeof unexec_zone> => ({
  kind: ZONE_KIND[zone.kind],
  flags: zone.isDefault ? ZONE_DEFAULT : 0,
  base: zone.base,
  size: BigInt(zone.size),
  used: zone.used === undefined ? ZONE_USED_UNKNOWN : BigInt(zone.used),
  high_water: BigInt(zone.highWater),
  page_size: BigInt(zone.pageSize),
});

function fromRecord(record: Value<typeof unexec_zone>, at: number): MallocZone {
  const { flags, base, size, high_water, page_size } = record;
  const { offsets } = unexec_zone;
  const used = record.used === ZONE_USED_UNKNOWN ? undefined : record.used;
  const kind = KINDS.find(name => ZONE_KIND[name] === record.kind);
  const bound = `at most size ${hex(size)}`;
  if (kind === undefined) throw wrong('KIND', 'kind', record.kind, at + offsets.kind, 'a ZONE_KIND');
  if (flags > ZONE_DEFAULT) throw wrong('FLAGS', 'flags', flags, at + offsets.flags, '0 or ZONE_DEFAULT');
  if (base + size > 1n << 64n)
    throw wrong('SIZE', 'size', size, at + offsets.size, `at most 2^64 - base ${hex(base)}`);
  if (used !== undefined && used > size) throw wrong('USED', 'used', used, at + offsets.used, bound);
  if (high_water > size) throw wrong('HIGH_WATER', 'high_water', high_water, at + offsets.high_water, bound);
  if (page_size === 0n || (page_size & (page_size - 1n)) !== 0n) {
    throw wrong('PAGE_SIZE', 'page_size', page_size, at + offsets.page_size, 'a power of two');
  }
  return {
    kind,
    base,
    size: toNumber('zone note: size', size),
    used: used === undefined ? undefined : Number(used),
    highWater: Number(high_water),
    pageSize: toNumber('zone note: page_size', page_size),
    isDefault: flags === ZONE_DEFAULT,
  };
}

const KINDS = Object.keys(ZONE_KIND).filter((name): name is ZoneKind => name in ZONE_KIND);

const wrong = (code: string, field: string, value: number | bigint, offset: number, expected: string) =>
  new FormatError(
    `ZONE_NOTE_${code}`,
    `zone note: ${field} is ${hex(value)} at ${hex(offset)}, expected ${expected}`,
    { offset, value },
  );
