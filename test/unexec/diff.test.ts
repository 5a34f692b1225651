/** Differences that are known, found and named; files that are the same; files that make no sense. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { describeFile } from '../../formats/describe/index.ts';
import { bytesSource } from '../../formats/source.ts';
import {
  type DiffRegion,
  type DiffReport,
  type DiffSymbol,
  diff,
  FormatError,
  UnexecError,
} from '../../unexec/index.ts';
import { compile } from '../formats/elf/support/tools.ts';
import { fat, linked } from '../formats/macho/support/tools.ts';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { typeErrors } from '../support/matches-type.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('diff');
const inSandbox = (name: string): string => join(directory, name);
const PAGE = 4096;

const one = inSandbox('one');
const again = inSandbox('again');
const other = inSandbox('other');
test.before(async () => {
  const program = compileFixture('diff/changes.c');
  await freezeProgram(program, one, { args: ['1'], at: 'stop' });
  await freezeProgram(program, again, { args: ['1'], at: 'stop' });
  await freezeProgram(program, other, { args: ['2', 'filled'], at: 'stop' });
});

const symbolOf = ({ symbols }: DiffReport, name: string): DiffSymbol | undefined =>
  symbols.find(symbol => symbol.name === name);

test('diff() finds no difference between a file and itself', async t => {
  const report = await diff(one, one);
  t.true(report.same);
  const { same, zero, ...different } = report.pages;
  t.deepEqual(different, { changed: 0, onlyA: 0, onlyB: 0, left: 0 });
  t.true(same > 100 && zero > 20);
  t.deepEqual([report.fields, report.parts, report.symbols, report.unexplained], [[], [], [], []]);
  t.deepEqual(report.steps, { changed: [], onlyA: [], onlyB: [] });
});

test('diff() tells which symbols changed, and which only one of two images has filled', async t => {
  const report = await diff(one, other);
  t.false(report.same);
  t.like(symbolOf(report, 'chosen'), { changed: 4 * 8, moved: 0, onlyA: 0, onlyB: 0 });
  t.like(symbolOf(report, 'filled'), { changed: 0, moved: 0, onlyA: 0, onlyB: 16 * PAGE });
  t.is(report.symbols[0]?.name, 'filled');
  t.is(symbolOf(report, 'same'), undefined);
  t.is(symbolOf(report, 'zero'), undefined);
  t.like(symbolOf(await diff(other, one), 'filled'), { onlyA: 16 * PAGE, onlyB: 0 });
  t.deepEqual(
    report.fields.filter(({ name }) => name.startsWith('argv')),
    [
      { name: 'argv[1]', a: '"1"', b: '"2"' },
      { name: 'argv[2]', a: null, b: '"filled"' },
    ],
  );
});

test('diff() tells pointers that moved from words that changed, and what those seem to be', async t => {
  const report = await diff(one, again);
  t.like(symbolOf(report, 'pointers'), { changed: 0, moved: 512 * 8 });
  t.is(symbolOf(report, 'chosen'), undefined);
  const kindOf = (symbol: string) => report.unexplained.find(word => word.symbol?.name === symbol)?.kind;
  t.is(kindOf('now') ?? 'time', 'time'); // the same second is no difference
  t.is(kindOf('process'), 'process-id');
  t.true(report.unexplained.some(({ kind }) => kind === 'canary'));
  t.true(report.unexplained.some(({ kind }) => kind === 'mangled'));
  const tid = report.fields.find(({ name }) => name === 'threads[0].tid');
  t.not(tid?.a, tid?.b);
  t.true(report.steps?.changed.some(({ name }) => name.startsWith('map ')));
});

test('what diff() names is all that differs between two freezes of one program', async t => {
  // At the same addresses, so that both files have the same layout and can be held side by side.
  const fixed = [inSandbox('fixed'), inSandbox('fixed-again')] as const;
  for (const path of fixed) {
    const args = ['-R', compileFixture('diff/changes.c'), '1'];
    await freezeProgram('/usr/bin/setarch', path, { args, at: 'stop' });
  }
  const report = await diff(...fixed);
  const [a, b] = [readFileSync(fixed[0]), readFileSync(fixed[1])];
  t.is(a.length, b.length);
  const { parts, images } = describeFile(bytesSource(a));
  const named = new Set(report.parts.map(({ name }) => name));
  const unnamed = new Set<string>();
  for (let at = 0; at < a.length; at++) {
    if (a[at] === b[at]) continue;
    const part = parts.find(({ offset, size }) => offset <= at && at < offset + size);
    const address = images[0]?.addressOf(at);
    const region = report.regions.find(
      ({ addressA, sizeA }) =>
        address !== undefined && addressA !== null && isWithin(address, BigInt(addressA), sizeA),
    );
    if (region === undefined ? !named.has(part?.name ?? '') : !differs(region)) unnamed.add(`${part?.name}`);
  }
  t.deepEqual([...unnamed], []);
  t.is(report.words.moved, 0);
  t.true(report.words.unexplained > 0 && report.words.unexplained < 200, `${report.words.unexplained}`);
  t.true(report.fields.some(({ name }) => name === 'frozenAt'));
});

const isWithin = (address: bigint, start: bigint, size: number): boolean =>
  start <= address && address < start + BigInt(size);

const differs = ({ pages }: DiffRegion): boolean => pages.changed + pages.onlyA + pages.onlyB > 0;

test('diff() counts every page of both images once', async t => {
  for (const pair of [
    [one, again],
    [one, other],
  ] as const) {
    const report = await diff(...pair);
    for (const { name, sizeA, sizeB, pages, kind, addressA, addressB } of report.regions) {
      if (kind === 'vdso' || kind === 'vvar') continue;
      const all = pages.same + pages.changed + pages.zero + pages.onlyA + pages.onlyB + pages.left;
      const least = Math.ceil(Math.max(sizeA, sizeB) / PAGE);
      // Of a stack both ends of the longer one may be cut within a page.
      t.true(all >= least && all <= least + 2, `${name} ${addressA} ${addressB}: ${all}, ${least}`);
    }
  }
});

test('diff() finds a thin image to be the same where it has its pages, and says what it leaves in files', async t => {
  const thin = inSandbox('thin');
  const args = ['-R', compileFixture('diff/changes.c'), '1'];
  await freezeProgram('/usr/bin/setarch', thin, { args, at: 'stop', thin: true });
  await freezeProgram('/usr/bin/setarch', inSandbox('whole'), { args, at: 'stop' });
  const report = await diff(thin, inSandbox('whole'));
  t.true(report.pages.left > 300);
  t.deepEqual([report.pages.onlyA, report.pages.onlyB], [0, 0]);
  t.like(
    report.regions.find(({ name, protection }) => name.endsWith('libc.so.6') && protection === 'r-xp'),
    {
      pages: { same: 0, changed: 0, zero: 0, onlyB: 0 },
    },
  );
});

test('diff() has the report that its schema says', async t => {
  const report = JSON.stringify(await diff(one, other, { listed: 50 }));
  t.deepEqual(typeErrors('unexec/diff/model.ts', [['DiffReport', report]]), []);
  const wrong = JSON.stringify({ ...JSON.parse(report), pages: null });
  t.not(typeErrors('unexec/diff/model.ts', [['DiffReport', wrong]]).length, 0);
});

test('diff() compares programs of others by section', async t => {
  const source = (value: number) => `int table[3000] = {1, ${value}}; int main() { return table[0]; }`;
  const [a, b] = [1, 2].map(value => compile(source(value), ['-O1', '-no-pie', '-Wl,--build-id=none']));
  if (a === undefined || b === undefined) return t.fail();
  const report = await diff(a, b);
  t.deepEqual(
    report.regions.filter(differs).map(({ name }) => name),
    ['.data'],
  );
  t.like(symbolOf(report, 'table'), { changed: 8 });
  // Names of files that the compiler made.
  t.deepEqual(
    report.parts.filter(({ name }) => name !== '.strtab'),
    [],
  );
});

test('diff() compares Mach-O programs, and refuses fat ones and other architectures by name', async t => {
  const x86 = linked({ arch: 'x86_64', fixups: 'dyld-info' });
  const arm = linked({ arch: 'arm64', fixups: 'dyld-info' });
  const chained = linked({ arch: 'x86_64', fixups: 'chained' });
  t.true((await diff(x86, x86)).same);
  t.false((await diff(x86, chained)).same);
  await t.throwsAsync(() => diff(x86, arm), { instanceOf: UnexecError, code: 'DIFF_ARCH' });
  await t.throwsAsync(() => diff(fat(x86, arm), x86), { instanceOf: UnexecError, code: 'DIFF_FAT' });
  await t.throwsAsync(() => diff(one, inSandbox('none')), { code: 'FILE_UNREADABLE' });
});

test('diff() compares a running process with the image that it comes from, and lets it go on', async t => {
  const child = spawn(one, [], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const { pid = 0 } = child;
  try {
    await isPaused(pid);
    const report = await diff(one, { pid });
    t.like(report.b, { source: 'process', pid, size: null, kind: 'process' });
    t.like(symbolOf(report, 'chosen'), { changed: 4 * 8, moved: 0, onlyA: 0, onlyB: 0 });
    for (const name of ['same', 'zero', 'filled', 'pointers']) t.is(symbolOf(report, name), undefined, name);
    // It is where it was: only what the program has touched since differs.
    t.true(report.pages.changed < 30 && report.pages.same > 100, JSON.stringify(report.pages));
    t.is(report.words.moved, 0);
    t.like(
      report.fields.find(({ name }) => name === 'threads[0].tid'),
      { b: `${pid}` },
    );
    t.deepEqual([report.parts, report.steps], [[], null]);
    await isPaused(pid);
    t.regex(readFileSync(`/proc/${pid}/status`, 'utf8'), /^TracerPid:\t0$/m);
  } finally {
    child.kill();
    await ended;
  }
  await t.throwsAsync(() => diff({ pid }, one), { instanceOf: UnexecError, code: 'NO_SUCH_PROCESS' });
});

/** Waits until it is in pause(2): at its end, or there again. */
async function isPaused(pid: number): Promise<void> {
  while (!readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(`${SYS_pause} `)) await sleep(10);
}

const SYS_pause = process.arch === 'x64' ? 34 : 73; // ppoll

test('diff() gives a report or a clear error for damaged images', async t => {
  const bytes = readFileSync(one);
  const damaged = inSandbox('damaged');
  const { parts } = describeFile(bytesSource(bytes));
  const notes = parts.find(({ name }) => name === '.note.unexec');
  const headers = parts.find(({ name }) => name === 'section headers');
  if (notes === undefined || headers === undefined) return t.fail();
  const place = fc.oneof(
    fc.nat(400),
    fc.integer({ min: notes.offset, max: notes.offset + notes.size - 1 }),
    fc.integer({ min: headers.offset, max: headers.offset + headers.size - 1 }),
  );
  const change = fc.tuple(place, fc.constantFrom(0, 0x20, 0x2d, 0x30, 0x39, 0x5d, 0x7d, 0xff));
  let reports = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async changes => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) copy[at] = value;
      writeFileSync(damaged, copy);
      reports += await isClear(damaged);
    }),
    { numRuns: 60 },
  );
  t.true(reports > 0);
  for (const length of [0, 3, 64, 400, 4096, bytes.length - 1]) {
    writeFileSync(damaged, bytes.subarray(0, length));
    await isClear(damaged);
  }
});

/** 1 for a report, 0 for an error that says what is wrong; anything else is thrown. */
async function isClear(path: string): Promise<number> {
  try {
    await diff(one, path);
    return 1;
  } catch (error) {
    if (error instanceof FormatError || error instanceof UnexecError) return 0;
    throw error;
  }
}

test('diff() ends when it is told to', async (t: ExecutionContext) => {
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  await t.throwsAsync(() => diff(one, again, { signal: controller.signal }), { message: 'enough' });
});
