import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeZones, encodeZones } from '../../../unexec/zones/note.ts';
import { type MallocZone, ZONE_KIND } from '../../../unexec/zones.ts';

const heap: MallocZone = {
  kind: 'heap',
  base: 0x5555_5555_9000n,
  size: 0x21000,
  used: 0x1290,
  highWater: 0x20000,
  pageSize: 4096,
  isDefault: true,
};
const reserve: MallocZone = { ...heap, kind: 'reserve', used: undefined, isDefault: false };

const zones: fc.Arbitrary<MallocZone> = fc
  .record({
    kind: fc.constantFrom(
      ...Object.keys(ZONE_KIND).filter((name): name is MallocZone['kind'] => name in ZONE_KIND),
    ),
    base: fc.bigInt(0n, 1n << 63n),
    size: fc.maxSafeNat(),
    pageSize: fc.nat(20).map(power => 2 ** power),
    isDefault: fc.boolean(),
  })
  .chain(zone =>
    fc
      .record({ used: fc.option(fc.nat(zone.size), { nil: undefined }), highWater: fc.maxSafeNat() })
      .map(({ used, highWater }) => ({ ...zone, used, highWater: Math.min(highWater, zone.size) })),
  );

test('encodeZones() writes little-endian C structs of fixed layout', t => {
  const payload = encodeZones([heap, reserve]);
  t.is(payload.length, 16 + 2 * 48);
  const words = Array.from(new BigUint64Array(payload.buffer), word => word.toString(16));
  t.deepEqual(words.slice(0, 8), [
    '3000000001', // version 1, record_size 0x30
    '2', // count 2
    '100000001', // kind heap, ZONE_DEFAULT
    '555555559000',
    '21000',
    '1290',
    '20000',
    '1000',
  ]);
  t.deepEqual(words.slice(8), ['6', '555555559000', '21000', 'ffffffffffffffff', '20000', '1000']);
});

test('decodeZones() gives what encodeZones() was given', t => {
  fc.assert(fc.property(fc.array(zones), list => void t.deepEqual(decodeZones(encodeZones(list)), list)));
});

test('decodeZones() steps over what a later version appends to each record', t => {
  const payload = encodeZones([heap, reserve]);
  const longer = new Uint8Array(16 + 2 * 56).fill(0xff);
  longer.set(payload.subarray(0, 64));
  longer.set(payload.subarray(64), 16 + 56);
  new DataView(longer.buffer).setUint32(4, 56, true);
  t.deepEqual(decodeZones(longer), [heap, reserve]);
});

const wrong: readonly (readonly [what: string, at: number, value: bigint, size: 4 | 8, code: string])[] = [
  ['another version', 0, 2n, 4, 'ZONE_NOTE_VERSION'],
  ['records that are too small', 4, 40n, 4, 'ZONE_NOTE_RECORD_SIZE'],
  ['records of odd size', 4, 49n, 4, 'ZONE_NOTE_RECORD_SIZE'],
  ['more records than there are', 8, 3n, 4, 'ZONE_NOTE_COUNT'],
  ['fewer records than there are', 8, 1n, 4, 'ZONE_NOTE_COUNT'],
  ['an enormous count', 8, 0xffff_ffffn, 4, 'ZONE_NOTE_COUNT'],
  ['a kind that does not exist', 16, 99n, 4, 'ZONE_NOTE_KIND'],
  ['kind 0', 16, 0n, 4, 'ZONE_NOTE_KIND'],
  ['unknown flags', 20, 2n, 4, 'ZONE_NOTE_FLAGS'],
  ['a zone beyond the address space', 24, 0xffff_ffff_ffff_0000n, 8, 'ZONE_NOTE_SIZE'],
  ['more in use than there is', 40, 0x21001n, 8, 'ZONE_NOTE_USED'],
  ['a high-water mark above the zone', 48, 0x21001n, 8, 'ZONE_NOTE_HIGH_WATER'],
  ['a page size that is no power of two', 56, 4095n, 8, 'ZONE_NOTE_PAGE_SIZE'],
  ['page size 0', 56, 0n, 8, 'ZONE_NOTE_PAGE_SIZE'],
];

for (const [what, at, value, size, code] of wrong) {
  test(`decodeZones() rejects ${what}`, t => {
    const payload = encodeZones([heap, reserve]);
    const view = new DataView(payload.buffer);
    if (size === 4) view.setUint32(at, Number(value), true);
    else view.setBigUint64(at, value, true);
    const error = t.throws(() => decodeZones(payload), { instanceOf: FormatError });
    t.is(error?.code, code);
  });
}

test('decodeZones() rejects a payload without a whole header', t => {
  for (const length of [0, 1, 15]) {
    const error = t.throws(() => decodeZones(new Uint8Array(length)), { instanceOf: FormatError });
    t.is(error?.code, 'ZONE_NOTE_TRUNCATED');
  }
});

test('decodeZones() rejects a payload cut short or too long', t => {
  const payload = encodeZones([heap, reserve]);
  for (let length = 16; length < payload.length; length++) {
    t.throws(() => decodeZones(payload.subarray(0, length)), {
      instanceOf: FormatError,
      message: /count is 0x2/,
    });
  }
  t.throws(() => decodeZones(new Uint8Array([...payload, 0])), { instanceOf: FormatError });
});

test('decodeZones() gives zones or a FormatError whatever the payload', t => {
  const mutation = fc.record({ at: fc.nat(16 + 2 * 48 - 1), value: fc.nat(255) });
  const property = fc.property(fc.array(mutation, { minLength: 1 }), mutations => {
    const payload = encodeZones([heap, reserve]);
    for (const { at, value } of mutations) payload[at] = value;
    try {
      for (const zone of decodeZones(payload)) t.true(Number.isSafeInteger(zone.size));
    } catch (error) {
      t.true(error instanceof FormatError, String(error));
    }
  });
  fc.assert(property, { numRuns: 2000 });
});
