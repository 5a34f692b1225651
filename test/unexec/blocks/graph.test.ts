import test from 'ava';
import fc from 'fast-check';
import { BLOCK_STATE, BlockColumns, type BlockState } from '../../../unexec/blocks/table.ts';
import { Blocks, findBlocks, graphOf, reachableFrom, usesByRoot } from '../../../unexec/blocks.ts';
import { PAGE } from '../../../unexec/image.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { withStopped } from '../../support/live-view.ts';
import { compareViews } from '../../support/paired-views.ts';
import { memoryOf } from '../../support/synthetic-memory.ts';

const BASE = 0x5000_0000_0000;

/** Blocks of 64 bytes, 16 bytes apart, in these states. */
function blocksOf(states: readonly BlockState[]): Blocks {
  const columns = new BlockColumns();
  for (const [i, state] of states.entries()) columns.push(BASE + 80 * i, 64, state, 0);
  return new Blocks(columns, [{ kind: 'heap', base: BigInt(BASE), size: 80 * states.length }], []);
}

/** Blocks with these edges, and roots outside of them. */
function synthetic(
  states: readonly BlockState[],
  edges: readonly (readonly [source: number, target: number])[],
  roots: readonly number[],
) {
  const bytes = new Uint8Array(Math.ceil((80 * states.length + 8) / PAGE) * PAGE);
  const view = new DataView(bytes.buffer);
  const used = new Map<number, number>();
  const slots: number[] = [];
  for (const [source, target] of edges) {
    const word = used.get(source) ?? 0;
    if (word === 8) continue;
    used.set(source, word + 1);
    view.setBigUint64(80 * source + 8 * word, BigInt(BASE + 80 * target + ((word * 7) % 64)), true);
    slots.push(80 * source + 8 * word);
  }
  const data = new Uint8Array(PAGE * Math.ceil((8 * roots.length + 1) / PAGE));
  const dataView = new DataView(data.buffer);
  for (const [i, root] of roots.entries()) dataView.setBigUint64(8 * i, BigInt(BASE + 80 * root), true);
  const { memory } = memoryOf([
    { start: BigInt(BASE), bytes },
    { start: 0x4000_0000_0000n, bytes: data },
  ]);
  return graphOf(blocksOf(states), memory, [
    { start: BigInt(BASE), slots: Float64Array.from(slots).sort() },
    { start: 0x4000_0000_0000n, slots: Float64Array.from(roots, (_, i) => 8 * i) },
  ]);
}

const { used, free, cached, unknown } = BLOCK_STATE;

test('graphOf() and reachableFrom() agree with a plain search, in its order', t => {
  const count = 40;
  const index = fc.nat(count - 1);
  const state = fc.oneof({ weight: 8, arbitrary: fc.constant(used) }, fc.constantFrom(free, cached, unknown));
  const property = fc.property(
    fc.array(state, { minLength: count, maxLength: count }),
    fc.array(fc.tuple(index, index), { maxLength: 150 }),
    fc.array(index, { maxLength: 6 }),
    (states, edges, roots) => {
      const graph = synthetic(states, edges, roots);
      const { order, rootOf, parents } = reachableFrom(graph);
      const live = (i: number): boolean => states[i] === used || states[i] === unknown;
      const next = new Map<number, number[]>();
      for (const [source, target] of edges) {
        const targets = next.get(source) ?? [];
        if (targets.length < 8) next.set(source, [...targets, target]);
      }
      const plain: number[] = [];
      const visit = (i: number): void => {
        if (plain.includes(i) || !live(i)) return;
        plain.push(i);
        for (const target of next.get(i) ?? []) visit(target);
      };
      for (const root of roots) visit(root);
      t.deepEqual([...order], plain);
      for (let i = 0; i < count; i++) t.is((rootOf[i] ?? 0) >= 0, plain.includes(i));
      for (const i of plain) {
        const parent = parents[i] ?? -1;
        t.true(parent < 0 ? roots.includes(i) : (next.get(parent) ?? []).includes(i));
      }
      const uses = usesByRoot(graph, { order, rootOf, parents });
      t.is(
        uses.reduce((sum, use) => sum + use.blocks, 0),
        plain.length,
      );
      t.is(
        uses.reduce((sum, use) => sum + use.bytes, 0),
        plain.length * 64,
      );
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('reachableFrom() follows a list of a million blocks', t => {
  const count = 1_000_000;
  const columns = new BlockColumns();
  for (let i = 0; i < count; i++) columns.push(BASE + 32 * i, 24, used, 0);
  const blocks = new Blocks(columns, [{ kind: 'heap', base: BigInt(BASE), size: 32 * count }], []);
  const first = Uint32Array.from({ length: count + 1 }, (_, i) => Math.min(i, count - 1));
  const targets = Uint32Array.from({ length: count - 1 }, (_, i) => i + 1);
  const none = { addresses: new Float64Array(0), targets: new Uint32Array(0) };
  const graph = { blocks, first, targets, roots: none, dangling: none, elsewhere: 0 };
  const { order } = reachableFrom(graph, [0]);
  t.is(order.length, count);
  t.is(order[count - 1], count - 1);
});

test('Blocks finds the block of every address, and none between them', t => {
  const block = fc.record({
    gap: fc.oneof(fc.nat(64), fc.nat(20_000_000)),
    size: fc.oneof(fc.nat(100), fc.nat(30_000)),
  });
  const property = fc.property(fc.array(block, { minLength: 1, maxLength: 60 }), list => {
    const columns = new BlockColumns();
    let at = BASE;
    const expected: { start: number; end: number }[] = [];
    for (const { gap, size } of list) {
      const start = at + gap + 1;
      columns.push(start, size, used, 0);
      expected.push({ start, end: start + size });
      at = start + size;
    }
    const blocks = new Blocks(columns, [{ kind: 'heap', base: BigInt(BASE), size: at - BASE }], []);
    for (const [i, { start, end }] of expected.entries()) {
      for (const address of [start, end, start + Math.floor((end - start) / 2)])
        t.is(blocks.find(address), i);
      const before = expected[i - 1];
      t.is(blocks.find(start - 1), before?.end === start - 1 ? i - 1 : -1);
      t.is(blocks.startingAt(start), i);
    }
    t.is(blocks.find(at + 1), -1);
    t.is(blocks.find(0), -1);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('Blocks needs little memory for a block that claims to be enormous', t => {
  const columns = new BlockColumns();
  columns.push(BASE, 2 ** 46 - 1, unknown, 0);
  const blocks = new Blocks(columns, [{ kind: 'reserve', base: BigInt(BASE), size: 2 ** 46 }], []);
  for (const at of [0, 1, 2 ** 40, 2 ** 46 - 1]) t.is(blocks.find(BASE + at), 0);
  t.is(blocks.find(BASE - 1), -1);
  t.is(blocks.find(BASE + 2 ** 46), -1);
});

test('the graph of a program has what is reachable, and knows what is not', async t => {
  const program = compileFixture('blocks/graph.c');
  await withStopped(program, [], async first => {
    await withStopped(program, [], second => {
      const comparison = compareViews(program, first.view, second.view);
      const blocks = findBlocks(first.view);
      const ranges = comparison.ranges.map(({ range, slots }) => ({ start: range.start1, slots }));
      const graph = graphOf(blocks, first.view.memory, ranges);
      const address = (name: string): number =>
        Number(new RegExp(`^${name} (\\w+)$`, 'm').exec(first.output)?.[1]);
      const reached = reachableFrom(graph);
      const isReached = (name: string): boolean => {
        const index = blocks.startingAt(address(name));
        return index >= 0 && (reached.rootOf[index] ?? -1) >= 0;
      };
      for (const name of ['block', 'end', 'boxed', 'ring']) t.true(isReached(name), name);
      for (const name of ['lost', 'lost_name', 'gone_name']) t.false(isReached(name), name);
      t.not(blocks.states[blocks.find(address('gone'))], used);
      // freed_holder leads to what was freed.
      t.true([...graph.dangling.targets].includes(blocks.find(address('gone'))));

      // Each bucket's nodes come one behind the other, its name behind each.
      const roots = [...graph.roots.addresses].map((at, i) => ({ at, i }));
      const table = address('table');
      const buckets = roots.filter(({ at }) => at >= table && at < table + 64 * 8);
      t.is(buckets.length, 64);
      const uses = usesByRoot(graph, reached);
      const inTable = uses.filter(({ root }) => buckets.some(({ i }) => i === root));
      t.is(
        inTable.reduce((sum, { blocks }) => sum + blocks, 0),
        2000,
      );
      t.is(inTable[0]?.blocks, 32);
      const [bucket = { at: 0, i: -1 }] = buckets;
      const firstNode = graph.roots.targets[bucket.i] ?? 0;
      const place = reached.order.indexOf(firstNode);
      const nodes = [...reached.order.subarray(place, place + 32)].map(i => blocks.at(i).start);
      const word = new Uint8Array(8);
      const wordAt = (at: number): number => {
        first.view.memory.read(BigInt(at), word);
        return Number(new DataView(word.buffer).getBigUint64(0, true));
      };
      for (let i = 0; i < 15; i++) t.is(wordAt(nodes[i] ?? 0), nodes[i + 1] ?? 0);
    });
  });
});
