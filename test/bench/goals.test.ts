/** @module */
import test from 'ava';
import { type Goal, judge, storedSpeed } from './goals.ts';
import { COLUMNS, type Column, type FreezeResult, type Row, type Timing } from './measurements.ts';

const NO_FORM = { timing: { none: 'not here' }, diskBytes: 0 } as const;

const MIB = 2 ** 20;

function summary(median: number): Timing & { median: number; count: number; min: number; p95: number } {
  return { count: 1, min: median, median, p95: median, faults: undefined };
}

function row(id: string, medians: Partial<Record<Column, number>>, freeze: Partial<FreezeResult> = {}): Row {
  const timing = (column: Column): Timing => {
    const median = medians[column];
    return median === undefined ? { none: 'not here' } : summary(median);
  };
  const times = Object.fromEntries(COLUMNS.map(column => [column, timing(column)]));
  return {
    id,
    title: id,
    times: { ...ALL_NONE, ...times },
    freeze: {
      milliseconds: { total: 20, stopped: 15, contents: 10 },
      storedBytes: 4 * MIB,
      fileSize: 5 * MIB,
      diskBytes: 4 * MIB,
      peakMemory: 100 * MIB,
      ...freeze,
    },
    forms: { thin: NO_FORM, compressed: NO_FORM, both: NO_FORM },
    gcore: { none: 'not here' },
    criuDump: { none: 'not here' },
  };
}

const NONE: Timing = { none: 'not here' };
const ALL_NONE: Record<Column, Timing> = {
  start: NONE,
  resumed: NONE,
  trained: NONE,
  fork: NONE,
  saved: NONE,
  criu: NONE,
};

const judged = (rows: readonly Row[], floor = 40): Goal[] => judge({ floor: summary(floor), rows });

const about = (rows: readonly Row[], text: string): Goal | undefined =>
  judged(rows).find(({ what }) => what.includes(text));

test('a trained resume at 0.8x of the fork meets the goal, a little more misses it', t => {
  t.deepEqual(about([row('python', { trained: 800, fork: 1000 })], 'fork'), {
    what: 'python: resumed, of a fork of the warm process',
    goal: 'at most 0.80x',
    found: '0.80x',
    met: true,
  });
  t.is(about([row('python', { trained: 810, fork: 1000 })], 'fork')?.met, false);
});

test('a program that cannot fork and has no saved image is not judged by them', t => {
  const goals = judged([row('python', { start: 9000, trained: 800 })]);
  t.deepEqual(
    goals.map(({ what }) => what),
    ['peak memory of the tool, largest of all dumps'],
  );
});

test('a resume has to beat the saved image of the runtime', t => {
  t.is(about([row('sbcl', { trained: 1900, saved: 2000 })], 'saved image')?.met, true);
  t.is(about([row('sbcl', { trained: 2100, saved: 2000 })], 'saved image')?.met, false);
});

for (const [id, least] of [
  ['perl', 20],
  ['emacs', 20],
  ['typescript', 6],
] as const) {
  test(`${id} has to resume ${least} times faster than it starts`, t => {
    t.is(about([row(id, { start: least * 100, trained: 100 })], 'own start')?.met, true);
    t.is(about([row(id, { start: least * 100 - 1, trained: 100 })], 'own start')?.met, false);
  });
}

test('guile has no goal against its own start', t => {
  t.is(about([row('guile', { start: 100, trained: 99 })], 'own start'), undefined);
});

test('the first instruction is compared with the floor, and the large image with the small one', t => {
  const rows = [
    row('exit', { resumed: 100, fork: 1 }),
    row('exit-16m', { resumed: 100, fork: 1 }),
    row('exit-1g', { resumed: 121, fork: 1 }),
  ];
  const goals = judged(rows, 40);
  t.deepEqual(
    goals.map(({ what, found, met }) => [what, found, met]),
    [
      ['exec to first instruction, of the floor', '2.50x', true],
      ['the same with 1 GiB, of that with 16 MiB', '1.21x', false],
      ['peak memory of the tool, largest of all dumps', '100 MiB', true],
    ],
  );
});

test('the speed of a dump is judged by the 1 GiB program alone', t => {
  const freeze = { storedBytes: 2e9, milliseconds: { total: 2000, stopped: 1500, contents: 1000 } };
  t.is(about([row('heap', {}, freeze)], 'speed')?.met, true);
  t.is(about([row('heap', {}, { ...freeze, storedBytes: 1.9e9 })], 'speed')?.found, '1.90 GB/s');
  t.is(about([row('perl', {}, freeze)], 'speed'), undefined);
});

test('the speed of a dump counts stored bytes while contents were written', t => {
  t.is(storedSpeed(row('perl', {}).freeze), (4 * MIB) / 0.01);
});

test('the largest memory of all dumps has to stay under 300 MiB', t => {
  const rows = [row('a', {}, { peakMemory: 299 * MIB }), row('b', {}, { peakMemory: 300 * MIB })];
  t.is(about(rows.slice(0, 1), 'memory')?.met, true);
  t.is(about(rows, 'memory')?.met, false);
});

test('nothing measured, nothing judged', t => {
  t.deepEqual(judged([]), []);
});
