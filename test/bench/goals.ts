/**
 * The goals, each held against what was measured. A goal whose rows were not measured is left out.
 *
 * @module
 */
import { type Column, type Measurements, medianOf, type Row } from './measurements.ts';
import { formatMib, formatNumber, formatRatio } from './table.ts';

export interface Goal {
  /** What is compared: `perl: trained resume against fork`. */
  readonly what: string;
  /** `at most 0.80x`. */
  readonly goal: string;
  readonly found: string;
  readonly met: boolean;
}

const MOST_OF_FORK = 0.8;
const LEAST_SPEEDUP: ReadonlyMap<string, number> = new Map([
  ['perl', 20],
  ['emacs', 20],
  ['typescript', 6],
]);
const MOST_OF_FLOOR = 2.5;
const MOST_OF_SMALL = 1.2;
const LEAST_SPEED = 2e9;
const MOST_MEMORY = 300 * 2 ** 20;

/** Rows that end with their first instruction: nothing that could be compared with a fork. */
export const FIRST_INSTRUCTION = { empty: 'exit', small: 'exit-16m', large: 'exit-1g' } as const;
export const isFirstInstruction = (id: string): boolean =>
  Object.values<string>(FIRST_INSTRUCTION).includes(id);

/** The row whose dump is large enough that its speed means something. */
const LARGE_DUMP = 'heap';

/** All goals that the rows allow to judge. */
export function judge({ floor, rows }: Pick<Measurements, 'floor' | 'rows'>): Goal[] {
  const working = rows.filter(({ id }) => !isFirstInstruction(id));
  return [
    ...working.flatMap(row =>
      ratioGoal(row, 'trained', 'fork', MOST_OF_FORK, 'of a fork of the warm process'),
    ),
    ...working.flatMap(row => ratioGoal(row, 'trained', 'saved', 1, "of the runtime's own saved image")),
    ...rows.flatMap(speedupGoal),
    ...firstInstructionGoals(floor.median, rows),
    ...rows.filter(({ id }) => id === LARGE_DUMP).map(speedGoal),
    ...memoryGoal(rows),
  ];
}

function ratioGoal(row: Row, of: Column, to: Column, most: number, text: string): Goal[] {
  const [value, limit] = [medianOf(row, of), medianOf(row, to)];
  if (value === undefined || limit === undefined) return [];
  return [atMost(`${row.id}: resumed, ${text}`, value / limit, most)];
}

function speedupGoal(row: Row): Goal[] {
  const least = LEAST_SPEEDUP.get(row.id);
  const [start, trained] = [medianOf(row, 'start'), medianOf(row, 'trained')];
  if (least === undefined || start === undefined || trained === undefined) return [];
  const found = start / trained;
  return [
    {
      what: `${row.id}: own start, of resumed`,
      goal: `at least ${formatRatio(least)}`,
      found: formatRatio(found),
      met: found >= least,
    },
  ];
}

function firstInstructionGoals(floor: number, rows: readonly Row[]): Goal[] {
  const median = (id: string): number | undefined => {
    const row = rows.find(row => row.id === id);
    return row === undefined ? undefined : medianOf(row, 'resumed');
  };
  const [empty, small, large] = [
    median(FIRST_INSTRUCTION.empty),
    median(FIRST_INSTRUCTION.small),
    median(FIRST_INSTRUCTION.large),
  ];
  const goals: Goal[] = [];
  if (empty !== undefined) {
    goals.push(atMost('exec to first instruction, of the floor', empty / floor, MOST_OF_FLOOR));
  }
  if (small !== undefined && large !== undefined) {
    goals.push(atMost('the same with 1 GiB, of that with 16 MiB', large / small, MOST_OF_SMALL));
  }
  return goals;
}

function speedGoal({ id, freeze }: Row): Goal {
  const speed = storedSpeed(freeze);
  return {
    what: `${id}: speed of the dump, stored bytes`,
    goal: `at least ${formatNumber(LEAST_SPEED / 1e9)} GB/s`,
    found: `${formatNumber(speed / 1e9)} GB/s`,
    met: speed >= LEAST_SPEED,
  };
}

/** Stored bytes a second, while contents were read and written. */
export const storedSpeed = ({ storedBytes, milliseconds }: Row['freeze']): number =>
  storedBytes / (milliseconds.contents / 1000);

function memoryGoal(rows: readonly Row[]): Goal[] {
  if (rows.length === 0) return [];
  const most = Math.max(...rows.map(({ freeze }) => freeze.peakMemory));
  return [
    {
      what: 'peak memory of the tool, largest of all dumps',
      goal: `under ${formatMib(MOST_MEMORY)} MiB`,
      found: `${formatMib(most)} MiB`,
      met: most < MOST_MEMORY,
    },
  ];
}

const atMost = (what: string, found: number, most: number): Goal => ({
  what,
  goal: `at most ${formatRatio(most)}`,
  found: formatRatio(found),
  met: found <= most,
});
