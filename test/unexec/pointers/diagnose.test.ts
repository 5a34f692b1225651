/**
 * A program that says of each of its words what it is, run twice.
 */
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { findBlocks } from '../../../unexec/blocks.ts';
import { runFacts } from '../../../unexec/linux/run-facts.ts';
import { type Diagnosis, diagnose, type RunFacts } from '../../../unexec/pointers/diagnose.ts';
import type { UnexplainedWord } from '../../../unexec/pointers.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { type LiveView, withStopped } from '../../support/live-view.ts';
import { compareViews, pairedRegions } from '../../support/paired-views.ts';

interface Told {
  readonly word: UnexplainedWord;
  readonly diagnosis: Diagnosis;
}

/** Two runs that begin in different seconds, and what is told of each word that is not explained. */
async function toldOf(
  program: string,
  known: 'all' | 'nothing' = 'all',
): Promise<{ told: Map<bigint, Told>; first: LiveView['output'] }> {
  return await withStopped(program, [], async first => {
    await setTimeout(1100);
    return await withStopped(program, [], second => {
      const comparison = compareViews(program, first.view, second.view);
      const blocks = findBlocks(first.view);
      const runs: [RunFacts, RunFacts] = [
        runFacts(first.pid, first.view.memory),
        runFacts(second.pid, second.view.memory),
      ];
      const words = comparison.unexplained;
      const own = new Set(comparison.ranges.map(({ range }) => range.start1));
      const outside = pairedRegions(first.view.regions, second.view.regions)
        .filter(({ a }) => !own.has(a.start))
        .map(({ a, b }) => ({ name: a.name, start1: a.start, start2: b.start, size: a.size }));
      const found = diagnose({
        arch: 'x86_64',
        words,
        ranges: comparison.ranges.map(({ range }) => range),
        outside,
        image: { a: first.view, b: second.view },
        ...(known === 'all' ? { runs } : {}),
        blockOf: address => {
          const index = blocks.find(Number(address));
          return index < 0 ? undefined : index;
        },
      });
      const told = new Map<bigint, Told>();
      for (const [i, word] of words.entries()) {
        const diagnosis = found[i];
        if (diagnosis !== undefined) told.set(word.range.start1 + BigInt(word.offset), { word, diagnosis });
      }
      return { told, first: first.output };
    });
  });
}

const saidBy = (output: string): { kind: string; name: string; address: bigint }[] =>
  [...output.matchAll(/^(\S+) (\S+) (0x\w+)$/gm)].map(([, kind = '', name = '', address = '0']) => ({
    kind,
    name,
    address: BigInt(address),
  }));

test('diagnose() tells of each word what the program says that it is', async t => {
  const { told, first } = await toldOf(compileFixture('pointers/unalike.c'));
  const said = saidBy(first);
  t.true(said.length > 25);
  for (const { kind, name, address } of said.filter(({ kind }) => kind !== 'table')) {
    // The processor's words are of 8 bytes.
    const found = told.get(address - (address % 8n));
    if (name === 'count' && found === undefined) continue;
    t.true(found?.diagnosis.kind === kind, `${name} is no ${kind}: ${found?.diagnosis.text}`);
  }
  const texts = (of: string): string =>
    said
      .filter(({ name }) => name === of)
      .map(({ address }) => told.get(address - (address % 8n))?.diagnosis.text)
      .join();
  t.regex(texts('rip'), /^a pointer to .*unalike.*\+0x\w+ that libc has mangled/);
  t.regex(texts('rsp'), /^a pointer to \[stack\] that libc has mangled/);
  t.regex(texts('tv_nsec'), /fraction of the second before it/);
  t.regex(texts('milliseconds'), /realtime, in milliseconds/);
  t.regex(texts('hash4'), /^an address of \[heap\] >> 4: a hash$/);
  t.regex(texts('half_shifted'), /^32 bits of an address of \[heap\] >> 6: a hash$/);
  t.regex(texts('linear'), /^6 words differ by the same amount/);
});

test('diagnose() finds a table whose entries are placed by their addresses', async t => {
  const { told, first } = await toldOf(compileFixture('pointers/unalike.c'));
  const table = saidBy(first).find(({ kind }) => kind === 'table')?.address ?? 0n;
  const inTable = [...told].filter(([address]) => address >= table && address < table + 128n * 8n);
  t.true(inTable.length > 30);
  for (const [, { diagnosis }] of inTable) t.like(diagnosis, { kind: 'reordered' });
  t.regex(inTable[0]?.[1].diagnosis.text ?? '', /the same \d+ pointers in another order/);
});

test('diagnose() knows mangled pointers and canaries by themselves where nothing is known of the runs', async t => {
  const { told, first } = await toldOf(compileFixture('pointers/unalike.c'), 'nothing');
  for (const { kind, name, address } of saidBy(first)) {
    const found = told.get(address - (address % 8n));
    if (['mangled', 'canary'].includes(kind)) t.true(found?.diagnosis.kind === kind, name);
    if (['seed', 'in_heap'].includes(name)) t.is(found?.diagnosis.kind, 'random');
  }
});

test('diagnose() decodes the functions that atexit keeps, in a static program', async t => {
  const { told } = await toldOf(compileFixture('pointers/unalike.c', ['-static-pie']));
  const mangled = [...told.values()].filter(({ diagnosis }) => diagnosis.kind === 'mangled');
  // Three of setjmp, and at least `leave` and one of libc's own.
  t.true(mangled.length >= 5);
  t.true(mangled.filter(({ diagnosis }) => /to .*unalike/.test(diagnosis.text)).length >= 2);
});

test('diagnose() has a word for everything, with nothing known at all', t => {
  const range = { name: 'data', start1: 0x1000_0000n, start2: 0x2000_0000n, size: 4096 };
  const image = { memory: { read: (_: bigint, into: Uint8Array) => void into.fill(0), touched: () => [] } };
  const words = [
    { value1: 5n, value2: 9n },
    { value1: 0x1234_5678_9abc_def1n, value2: 0xfedc_ba98_7654_3211n },
  ].map((values, i) => ({ range, offset: 8 * i, into: undefined, ...values }));
  const told = diagnose({
    arch: 'aarch64',
    words,
    ranges: [range],
    outside: [],
    image: { a: image, b: image },
  });
  t.deepEqual(
    told.map(({ kind }) => kind),
    ['count', 'random'],
  );
  t.regex(told[0]?.text ?? '', /differs by 4/);
});
