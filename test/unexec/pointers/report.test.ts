import test from 'ava';
import { findBlocks, graphOf, reachableFrom } from '../../../unexec/blocks.ts';
import { diagnose } from '../../../unexec/pointers/diagnose.ts';
import { reportBlocks, reportPointers } from '../../../unexec/pointers/report.ts';
import { placeOfWord, unexplainedLine } from '../../../unexec/pointers/word-place.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { withStopped } from '../../support/live-view.ts';
import { compareViews, pairedRegions } from '../../support/paired-views.ts';

test('reports say how many pointers lead from where to where, and what hangs on which variable', async t => {
  const program = compileFixture('blocks/graph.c');
  await withStopped(program, [], async first => {
    await withStopped(program, [], second => {
      const comparison = compareViews(program, first.view, second.view);
      const own = new Set(comparison.ranges.map(({ range }) => range.start1));
      const outside = pairedRegions(first.view.regions, second.view.regions)
        .filter(({ a }) => !own.has(a.start))
        .map(({ a, b }) => ({ name: a.name, start1: a.start, start2: b.start, size: a.size }));
      const { counts } = comparison;
      const ways = reportPointers(comparison.ranges, outside, first.view.memory);
      const sum = (kind: string): number =>
        ways.filter(way => way.kind === kind).reduce((total, { pointers }) => total + pointers, 0);
      t.is(sum('inside'), counts.pointers);
      t.is(sum('outward'), counts.outward);
      const way = (from: string, to: RegExp) =>
        ways
          .filter(found => found.from === from && to.test(found.to))
          .reduce((all, { pointers }) => all + pointers, 0);
      // Every node has a name, all but 64 a next one, and each a function of libc.
      t.true(way('[heap]', /^\[heap\]$/) >= 1000 + 1000 - 64);
      // Free chunks lead to their bins.
      const functions = way('[heap]', /libc\.so/);
      t.true(functions >= 1000 && functions < 1010, `${functions}`);
      t.true(way('.bss', /^\[heap\]$/) + way(program, /^\[heap\]$/) >= 64);

      const blocks = findBlocks(first.view);
      const ranges = comparison.ranges.map(({ range, slots }) => ({ start: range.start1, slots }));
      const graph = graphOf(blocks, first.view.memory, ranges);
      const reached = reachableFrom(graph);
      const address = (name: string): bigint =>
        BigInt(new RegExp(`^${name} (\\w+)$`, 'm').exec(first.output)?.[1] ?? 0);
      const table = address('table');
      const nameOf = (at: bigint): string =>
        at >= table && at < table + 512n ? 'table' : `0x${at.toString(16)}`;
      const report = reportBlocks(graph, reached, nameOf);
      t.like(report.roots[0], { name: 'table', blocks: 2000 });
      t.true(report.unreachable.blocks >= 3 && report.unreachable.blocks < 10);
      t.is(report.dangling, graph.dangling.addresses.length);
      t.true(
        report.roots.reduce((total, { bytes }) => total + bytes, 0) + report.unreachable.bytes ===
          report.bytes,
      );
      t.is(reportBlocks(graph, reached, nameOf, 1).roots.length, 1);

      // A place is told by the variable from which it is reached.
      const names = { nameOf, graph, reached };
      t.is(placeOfWord(table + 8n, names), 'table');
      const [bucket = 0] = [...graph.roots.addresses].flatMap((at, i) =>
        BigInt(at) === table ? [graph.roots.targets[i] ?? 0] : [],
      );
      const node = blocks.at(bucket);
      t.is(
        placeOfWord(BigInt(node.start + 16), names),
        `offset 0x10 of a block of 40 bytes at 0x${node.start.toString(16)}, reached from table`,
      );
      const last =
        reached.order.find(i => (reached.parents[reached.parents[i] ?? -1] ?? -1) === bucket) ?? -1;
      t.regex(placeOfWord(BigInt(blocks.at(last).start), names), /, reached from table over 2 blocks$/);
      t.regex(placeOfWord(address('lost'), names), /, which nothing reaches$/);

      const [range] = comparison.ranges;
      if (range === undefined) return t.fail('ranges were compared');
      const word = { range: range.range, offset: 16, value1: 3n, value2: 5n, into: undefined };
      const [diagnosis] = diagnose({
        arch: 'x86_64',
        words: [word],
        ranges: [range.range],
        outside: [],
        image: { a: first.view, b: second.view },
      });
      if (diagnosis === undefined) return t.fail('one word was diagnosed');
      t.is(
        unexplainedLine(word, diagnosis, names),
        `0x${(range.range.start1 + 16n).toString(16)}: unexplained: 0x3 in one run, 0x5 in the other: a number that differs by 2: the runs did not do the same`,
      );
      return undefined;
    });
  });
});
