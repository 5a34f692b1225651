import test from 'ava';
import { type MemoryRegion, PAGE } from '../../../unexec/image.ts';
import { type MemoryStretch, StretchMemory } from '../../../unexec/sources/stretch-memory.ts';

/** A stretch in which each byte is that of its own address, but for what is not stored. */
const stretchOf = (start: bigint, size: number, stored = size): MemoryStretch => ({
  start,
  size,
  stored,
  read: true,
  write: true,
  execute: false,
  shared: false,
  inode: 0,
  name: '',
  fill: (offset, into) => {
    if (offset < 0 || offset + into.length > stored) throw new Error(`${into.length} bytes at ${offset}`);
    for (const i of into.keys()) into[i] = valueAt(start + BigInt(offset + i));
  },
});
const valueAt = (address: bigint): number => Number(address % 251n) + 1;

const STRETCHES = [
  stretchOf(0x10000n, 2 * PAGE),
  stretchOf(0x12000n, PAGE, 100),
  stretchOf(0x20000n, PAGE, 0),
  stretchOf(0x30010n, 24),
];
const memory = new StretchMemory(STRETCHES);

test('StretchMemory reads over stretches and what lies between them, byte for byte', t => {
  const expected = (address: bigint): number => {
    const inside = STRETCHES.some(
      ({ start, stored }) => address >= start && address < start + BigInt(stored),
    );
    return inside ? valueAt(address) : 0;
  };
  for (const [start, length] of [
    [0x0ff0n, 8],
    [0xfff8n, 16],
    [0x10000n, 2 * PAGE],
    [0x11ff0n, 300],
    [0x12064n, 8],
    [0xf000n, 0x22000],
    [0x30000n, 64],
    [0x30018n, 4],
    [0x40000n, 8],
  ] as const) {
    const bytes = new Uint8Array(length).fill(0xee);
    memory.read(start, bytes);
    t.true(
      bytes.every((byte, i) => byte === expected(start + BigInt(i))),
      `0x${start.toString(16)}`,
    );
  }
});

test('StretchMemory tells which pages of a region are stored', t => {
  const touched = (start: bigint, size: number) => [...memory.touched({ start, size } as MemoryRegion)];
  t.deepEqual(touched(0x10000n, 2 * PAGE), [{ first: 0, count: 2 }]);
  t.deepEqual(touched(0x12000n, PAGE), [{ first: 0, count: 1 }]);
  t.deepEqual(touched(0x20000n, PAGE), []);
  t.deepEqual(touched(0x11000n, 2 * PAGE), [
    { first: 0, count: 1 },
    { first: 1, count: 1 },
  ]);
  t.deepEqual(touched(0x30000n, PAGE), [{ first: 0, count: 1 }]);
  t.deepEqual(touched(0x50000n, PAGE), []);
});
