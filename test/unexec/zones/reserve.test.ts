import test from 'ava';
import { viewOf } from '../../../formats/struct.ts';
import { findReserveIn } from '../../../unexec/zones/find-reserve.ts';
import {
  BLOCKS_OFFSET,
  findReserveMagic,
  RESERVE_MAGIC,
  readZoneHeader,
  unexec_reserve,
  unexec_zone_header,
} from '../../../unexec/zones/reserve.ts';

const SIZE = 0x10_0000;
const MAGIC = new Uint8Array(16);
new TextEncoder().encodeInto('unexec zone 1', MAGIC);

const header = {
  magic: MAGIC,
  size: BigInt(SIZE),
  high_water: 0x8000n,
  used: 0x1000n,
  overflow: 0n,
  page_size: 4096n,
  generation: 3,
  is_default: 1,
  busy: 0,
  unused: 0,
};
const headWith = (fields: Partial<unexec_zone_header>): Uint8Array =>
  unexec_zone_header.encode({ ...header, ...fields }, true);

test('readZoneHeader() reads a header', t => {
  t.deepEqual(readZoneHeader(headWith({}), SIZE), {
    size: SIZE,
    highWater: 0x8000,
    used: 0x1000,
    pageSize: 4096,
    generation: 3,
    isDefault: true,
  });
});

test('readZoneHeader() gives nothing for a zone that was never started', t => {
  t.is(readZoneHeader(new Uint8Array(unexec_zone_header.size), SIZE), undefined);
});

const damages: readonly (readonly [code: string, field: string, fields: Partial<unexec_zone_header>])[] = [
  ['ZONE_DAMAGED', 'magic', { magic: new TextEncoder().encode('unexec zone 2\0\0\0') }],
  ['ZONE_DAMAGED', 'size', { size: BigInt(SIZE) * 2n }],
  ['ZONE_DAMAGED', 'high_water', { high_water: BigInt(SIZE) + 16n }],
  ['ZONE_DAMAGED', 'high_water', { high_water: BigInt(BLOCKS_OFFSET) - 16n }],
  ['ZONE_DAMAGED', 'high_water', { high_water: 2n ** 64n - 1n }],
  ['ZONE_DAMAGED', 'used', { used: 2n ** 63n }],
  ['ZONE_OVERFLOW', '48 bytes', { overflow: 48n }],
  ['ZONE_BUSY', 'allocator', { busy: 1 }],
];
for (const [code, said, fields] of damages)
  test(`readZoneHeader() refuses ${Object.entries(fields).map(([name, value]) => `${name} = ${value}`)}: ${code}`, t => {
    t.throws(() => readZoneHeader(headWith(fields), SIZE), { code, message: new RegExp(said) });
  });

/** A struct unexec_reserve. */
const reserve = (offset: bigint, size: bigint): Uint8Array => {
  const bytes = new Uint8Array(unexec_reserve.size);
  bytes.set(RESERVE_MAGIC);
  viewOf(bytes).setBigInt64(unexec_reserve.offsets.offset, offset, true);
  viewOf(bytes).setBigUint64(unexec_reserve.offsets.size, size, true);
  return bytes;
};
const CHUNK = 1 << 20;

/** A segment of these bytes, with the struct at these offsets. */
const segmentWith = (length: number, places: readonly number[], bytes = reserve(0n, 0n)) => {
  const contents = new Uint8Array(length);
  for (const at of places) contents.set(bytes.subarray(0, length - at), at);
  return { segment: 'data', address: 0x1_0000_4000n, contents };
};

for (const at of [0, 16, CHUNK - 64, CHUNK - 48, CHUNK - 32, CHUNK - 16, CHUNK, CHUNK + 16, 2 * CHUNK - 16])
  test(`findReserveIn() finds the struct at offset 0x${at.toString(16)}, once`, t => {
    const found = findReserveIn([segmentWith(3 * CHUNK, [at])]);
    t.deepEqual(found, {
      segment: 'data',
      offset: at,
      address: 0x1_0000_4000n + BigInt(at),
      base: undefined,
      size: 0,
    });
  });

test('findReserveIn() finds the struct as the last thing of its segment, and none that is cut off', t => {
  const { size } = unexec_reserve;
  const end = 0x4000;
  const last = (end - size) & -16;
  t.is(findReserveIn([segmentWith(last + size, [last])])?.offset, last);
  t.is(findReserveIn([segmentWith(last + size - 1, [last])]), undefined);
  t.is(findReserveIn([]), undefined);
});

test('findReserveIn() passes over the magic at places where the struct cannot be', t => {
  t.is(findReserveIn([segmentWith(CHUNK, [8, 100, 1001])]), undefined);
  t.deepEqual(findReserveMagic(segmentWith(256, [24]).contents, 0x1008n), [24]);
});

test('findReserveIn() refuses two structs, and tells where they are', t => {
  const two = [segmentWith(0x4000, [0x20]), { ...segmentWith(0x4000, [0x40]), address: 0x2_0000_0000n }];
  t.throws(() => findReserveIn(two), {
    code: 'RESERVE_AMBIGUOUS',
    message: /2 times .* 0x100004020 and 0x200000040/,
  });
  t.throws(() => findReserveIn([segmentWith(0x4000, [0x20, 0x200])]), { code: 'RESERVE_AMBIGUOUS' });
});

for (const size of [0n, 1n, 0x4001n, 2n ** 63n, 2n ** 64n - 0x4000n])
  test(`findReserveIn() refuses a reserve of 0x${size.toString(16)} bytes`, t => {
    const damaged = segmentWith(0x4000, [0x10], reserve(0x8000n, size));
    t.throws(() => findReserveIn([damaged]), {
      code: 'RESERVE_DAMAGED',
      message: /expected a multiple of 0x4000/,
    });
  });

test('findReserveIn() counts the place of the reserve from the struct', t => {
  const found = findReserveIn([segmentWith(0x4000, [0x10], reserve(-0x10n - 0x4000n, 0x8000n))]);
  t.like(found, { base: 0x1_0000_0000n, size: 0x8000 });
});
