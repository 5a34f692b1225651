/**
 * Judged by the program itself, which keeps a table of what it has and of what it freed last, and by glibc's
 * mallinfo2(3), to the byte.
 */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { BLOCK_STATE, type Blocks, findBlocks, graphOf, ownZoneBlocks } from '../../unexec/blocks.ts';
import { findZones, type ZoneView } from '../../unexec/zones.ts';
import { compileFixture } from '../support/fixtures.ts';
import { type LiveView, withStopped } from '../support/live-view.ts';
import { damagedView } from '../support/recorded-view.ts';
import { buildWithRuntime, MIB } from '../support/runtime.ts';
import { sandbox } from '../support/sandbox.ts';

const program = compileFixture('blocks/allocations.c');
const directory = sandbox('blocks');

interface Entry {
  readonly block: number;
  readonly usable: number;
}

function tableOf({ view, output }: LiveView, name: 'table' | 'freed'): Entry[] {
  const [, address = '0', count = '0'] = new RegExp(`^${name} (\\w+) (\\d+)$`, 'm').exec(output) ?? [];
  const bytes = new Uint8Array(Number(count) * 16);
  view.memory.read(BigInt(address), bytes);
  const words = new DataView(bytes.buffer);
  return Array.from({ length: Number(count) }, (_, i) => ({
    block: Number(words.getBigUint64(16 * i, true)),
    usable: Number(words.getBigUint64(16 * i + 8, true)),
  }));
}

const counted = ({ output }: LiveView, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(output)?.[1]);

const indexes = (blocks: Blocks): number[] => Array.from({ length: blocks.count }, (_, i) => i);

/** Chunk sizes of the blocks of an arena in these states, as mallinfo2 counts them. */
function bytesIn(blocks: Blocks, ...states: number[]): number {
  let sum = 0;
  for (const i of indexes(blocks)) {
    const { zone, state, start, size } = blocks.at(i);
    if (zone.kind === 'mmapped-chunk' || !states.includes(state)) continue;
    // The size of `top` ends with its chunk; that of all others with the next one's `prev_size`.
    const end = start + size;
    sum += end % 16 === 0 ? size + 16 : size + 8;
  }
  return sum;
}

/** How many of the blocks that were freed last are in use again, and not by the program. */
function reused(live: LiveView, blocks: Blocks, table: readonly Entry[]): number {
  const present = new Set(table.map(({ block }) => blocks.find(block)));
  return tableOf(live, 'freed').filter(({ block }) => {
    const index = blocks.find(block);
    return index >= 0 && !present.has(index) && blocks.states[index] === BLOCK_STATE.used;
  }).length;
}

function inOrder(t: ExecutionContext, blocks: Blocks): void {
  let end = 0;
  for (const i of indexes(blocks)) {
    const { start, size } = blocks.at(i);
    if (start < end || size < 0) t.fail(`block ${i} overlaps the one before`);
    end = start + size;
  }
  t.pass();
}

const all = test.macro({
  exec: async (
    t,
    { threads, chunks, largest }: { threads: number; chunks: number; largest: number },
    env: Record<string, string> = {},
    flags: readonly string[] = [],
    args: readonly string[] = [],
  ) => {
    const path = compileFixture('blocks/allocations.c', flags);
    await withStopped(
      path,
      [...[threads, chunks, largest].map(String), ...args],
      live => {
        const blocks = findBlocks(live.view);
        inOrder(t, blocks);
        const table = tableOf(live, 'table');
        t.true(table.length > chunks / 2);
        for (const { block, usable } of table) {
          const index = blocks.startingAt(block);
          if (index < 0) return t.fail(`0x${block.toString(16)} is no block`);
          const found = blocks.at(index);
          if (found.state !== BLOCK_STATE.used) t.fail(`0x${block.toString(16)} is in state ${found.state}`);
          if (found.size !== usable) t.fail(`0x${block.toString(16)} has ${found.size} bytes, not ${usable}`);
          if (blocks.find(block + usable - 1) !== index) t.fail('its last byte is in another block');
        }
        t.true(reused(live, blocks, table) <= 3 * threads);
        const { used, free } = BLOCK_STATE;
        const mmapped = indexes(blocks).filter(i => blocks.at(i).zone.kind === 'mmapped-chunk');
        t.is(mmapped.length, counted(live, 'mmapped'));
        // A fast bin's chunks are free to mallinfo2, a thread cache's are not.
        if (args.length === 0) {
          // A static program takes its thread-local memory with sbrk.
          const expected = flags.length === 0 ? [] : ['memory of others'];
          t.deepEqual(
            blocks.remarks.map(({ what }) => what.split(':')[0]),
            expected,
          );
          t.is(bytesIn(blocks, free) + counted(live, 'fastbins'), counted(live, 'free'));
        }
        // What is in use beside the table is libc's: a few blocks of each thread.
        const others = indexes(blocks).filter(i => blocks.states[i] === used).length - table.length;
        t.true(others >= 0 && others <= 4 + 3 * threads, `${others} blocks in use are not in the table`);
      },
      env,
    );
    return undefined;
  },
  title: (title = '') => `findBlocks() finds every allocation ${title}`,
});

const few = { threads: 0, chunks: 3000, largest: 3000 };
test('of one thread', all, few);
test('of one thread without a thread cache', all, few, {
  GLIBC_TUNABLES: 'glibc.malloc.tcache_count=0',
});
test('of small sizes, in fast bins too', all, { threads: 0, chunks: 20_000, largest: 100 });
test('of four threads', all, { ...few, threads: 4 });
test('of two arenas that grow beyond one heap', all, { threads: 2, chunks: 3000, largest: 100_000 });
test('in mappings of their own', all, { threads: 1, chunks: 300, largest: 1_000_000 });
test('where all are mappings', all, { ...few, chunks: 1000 }, { MALLOC_MMAP_THRESHOLD_: '0' });
test('of a static program', all, { ...few, threads: 2 }, {}, ['-static']);
test('of a static position-independent program', all, { ...few, threads: 1 }, {}, ['-static-pie']);
test('beside memory that others took with sbrk', all, { ...few, chunks: 20_000 }, {}, [], ['sbrk']);

test('findBlocks() tells of memory that others took with sbrk', async t => {
  await withStopped(program, ['0', '20000', '3000', 'sbrk'], ({ view }) => {
    const blocks = findBlocks(view);
    const foreign = blocks.remarks.filter(({ what }) => what.startsWith('memory of others'));
    t.true(foreign.length > 10);
    for (const { address } of foreign) {
      t.is(blocks.states[blocks.startingAt(address)], BLOCK_STATE.unknown);
    }
    t.deepEqual(
      blocks.remarks.filter(remark => !foreign.includes(remark)),
      [],
    );
  });
});

test('findBlocks() passes over a damaged size, tells where, and finds the blocks behind it', async t => {
  await withStopped(program, ['0', '2000', '500'], live => {
    const zones = findZones(live.view);
    const table = tableOf(live, 'table').sort((a, b) => a.block - b.block);
    const victim = table[1000] ?? { block: 0, usable: 0 };
    const damaged = damagedView(live.view, [{ address: BigInt(victim.block) - 8n, word: 0x4141_4141_4141n }]);
    const blocks = findBlocks(damaged, { zones });
    const [remark, ...others] = blocks.remarks;
    t.is(others.length, 0);
    t.is(remark?.address, victim.block - 8);
    t.regex(remark?.what ?? '', /^no chunk is here/);
    const lost = table.filter(({ block }) => blocks.startingAt(block) < 0);
    // Old headers in what is not overwritten may look like chunks: some neighbours are part of others.
    t.true(lost.includes(victim) && lost.length < 40, `${lost.length} lost`);
    t.true(lost.every(({ block }) => blocks.find(block) >= 0));
    t.is(blocks.states[blocks.find(victim.block)], BLOCK_STATE.unknown);
  });
});

test('findBlocks() gives sorted blocks whatever is in the memory of the process', async t => {
  await withStopped(program, ['1', '300', '400'], ({ view }) => {
    const zones = findZones(view);
    const places = fc
      .constantFrom(...zones)
      .chain(({ base, highWater }) =>
        fc.nat(Math.min(highWater, 65_536) / 8 - 1).map(word => base + BigInt(8 * word)),
      );
    const word = fc.oneof(
      fc.bigInt(0n, 0x3000n),
      fc.bigInt(0n, (1n << 64n) - 1n),
      places.map(place => place + 16n),
    );
    const damage = fc.array(fc.record({ address: places, word }), { minLength: 1, maxLength: 12 });
    const property = fc.property(damage, damages => {
      const blocks = findBlocks(damagedView(view, damages), { zones });
      inOrder(t, blocks);
      graphOf(blocks, view.memory, []);
    });
    fc.assert(property, { numRuns: 100 });
  });
});

/** Every block of our own zone, from a process that stops itself. */
test('findBlocks() finds the blocks of our own zone', async t => {
  const source = 'test/fixtures/blocks/allocations.c';
  // glibc's mallinfo2 knows nothing of the zone.
  const output = buildWithRuntime({
    source,
    output: join(directory, 'own'),
    reserve: 64 * MIB,
    flags: ['-Wno-unused-result'],
  });
  await withStopped(output, ['2', '3000', '2000'], live => {
    const base = reserveOf(live.view);
    const blocks = findBlocks(live.view, { reserves: [base] });
    const own = ownZoneBlocks(live.view, [base]);
    t.deepEqual(blocks.remarks, []);
    t.is(blocks.at(0).zone.kind, 'reserve');
    t.is(blocks.at(0).zone.size, 64 * MIB);
    inOrder(t, blocks);
    for (const found of [blocks, own]) {
      const table = tableOf(live, 'table');
      for (const { block, usable } of table) {
        t.like(found.at(found.startingAt(block)), { start: block, size: usable, state: BLOCK_STATE.used });
      }
      t.true(reused(live, found, table) <= 6);
      const used = indexes(found).filter(i => found.states[i] === BLOCK_STATE.used);
      t.true(used.length - table.length < 16, `${used.length - table.length} others`);
      // `used` of the zone's header counts the same bytes.
      const header = new Uint8Array(8);
      live.view.memory.read(base + 32n, header);
      const sum = used.reduce((bytes, i) => bytes + (found.sizes[i] ?? 0), 0);
      t.is(sum, Number(new DataView(header.buffer).getBigUint64(0, true)));
    }
  });
});

test('findBlocks() tells of a tag of our own zone that was overwritten', async t => {
  const output = buildWithRuntime({
    source: 'test/fixtures/blocks/allocations.c',
    output: join(directory, 'own-damaged'),
    reserve: MIB,
    flags: ['-Wno-unused-result'],
  });
  await withStopped(output, ['0', '500', '200'], live => {
    const base = reserveOf(live.view);
    const [, second = { block: 0 }] = tableOf(live, 'table').sort((a, b) => a.block - b.block);
    const view = damagedView(live.view, [{ address: BigInt(second.block) - 8n, word: 7n }]);
    const blocks = ownZoneBlocks(view, [base]);
    t.is(blocks.remarks.length, 1);
    t.is(blocks.remarks[0]?.address, second.block - 8);
    t.is(blocks.states[blocks.find(second.block)], BLOCK_STATE.unknown);
  });
});

/** Where the zone begins: it says so. */
function reserveOf(view: ZoneView): bigint {
  const magic = Buffer.from('unexec zone 1\0\0\0');
  for (const region of view.regions.filter(({ write, shared }) => write && !shared)) {
    const bytes = new Uint8Array(Math.min(region.size, MIB));
    view.memory.read(region.start, bytes);
    for (let at = Buffer.from(bytes.buffer).indexOf(magic); at >= 0; ) {
      const base = region.start + BigInt(at);
      if (base % 16n === 0n) return base;
      at = Buffer.from(bytes.buffer).indexOf(magic, at + 1);
    }
  }
  throw new Error('no zone');
}
